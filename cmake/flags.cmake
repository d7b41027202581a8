# SPDX-License-Identifier: Apache-2.0
# Flags of our own code only; the headers of others are included as system headers.
add_library(codecllm_flags INTERFACE)
target_compile_options(codecllm_flags INTERFACE -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror
  # One rounding per written operation on every tier and compiler; where an FMA is meant, it is written.
  -ffp-contract=off)
# g++ 12 misreads std::string's operator+ under several names (GCC bug 105651). Fields left out of a designated
# initializer have their defaults, which is what they are for.
target_compile_options(codecllm_flags INTERFACE -Wno-missing-field-initializers
  "$<$<CXX_COMPILER_ID:GNU>:-Wno-restrict;-Wno-stringop-overflow;-Wno-stringop-overread;-Wno-array-bounds>")
# Of the kernels, and of the command line, which takes its time in the library: a third less to compile, with sanitizers
# two thirds.
set(kernel_level -O3)
set(command_level -O1)
if(CODECLLM_SANITIZE)
  set(kernel_level -O1)
  set(command_level -O0)
  target_compile_definitions(codecllm_flags INTERFACE CODECLLM_SANITIZED)
  # A null pointer that is read or written faults by itself; these two checks are a third of what there is to compile.
  target_compile_options(codecllm_flags INTERFACE -fsanitize=${CODECLLM_SANITIZE} -fno-sanitize=null,vptr -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(codecllm_flags INTERFACE -fsanitize=${CODECLLM_SANITIZE})
endif()

# The presets compile each folder with those below it as one translation unit, and the small folders above the model as
# one (`dev` does not): four times faster from scratch, and a name that stands twice in a unit is noticed.
function(unity_by_folder target)
  get_target_property(sources ${target} SOURCES)
  foreach(source IN LISTS sources)
    file(RELATIVE_PATH path ${PROJECT_SOURCE_DIR} ${source})
    string(REGEX REPLACE "^([a-z]+/[a-z0-9_]+)/.*" "\\1" folder ${path})
    string(REGEX REPLACE "^src/(api|c|eval|gen|plan)$" "src/upper" folder ${folder})
    string(MAKE_C_IDENTIFIER ${folder} group)
    set_source_files_properties(${source} PROPERTIES UNITY_GROUP ${group})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD_MODE GROUP)
endfunction()
