# SPDX-License-Identifier: Apache-2.0
# Files of src/kernels/cpu are compiled once per tier named here, with CODECLLM_TIER as its namespace. What a tier has no
# files for it takes from the tier before it (see src/base/isa.def).
file(GLOB kernel_sources CONFIGURE_DEPENDS src/kernels/cpu/*.cc)
foreach(tier vbmi bf16)  # few of the files
  set(list src/kernels/${tier}_files.def)
  file(STRINGS ${list} ${tier}_sources REGEX "^KERNEL_FILE")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${list})
  list(TRANSFORM ${tier}_sources REPLACE "^KERNEL_FILE\\((.*)\\)" "src/kernels/cpu/\\1.cc")
endforeach()
set(isa_objects)

function(add_isa_tier tier sources)
  add_library(codecllm_${tier} OBJECT ${${sources}})
  target_include_directories(codecllm_${tier} PRIVATE src include)
  target_compile_definitions(codecllm_${tier} PRIVATE CODECLLM_TIER=${tier})
  target_link_libraries(codecllm_${tier} PRIVATE codecllm_flags)
  set_target_properties(codecllm_${tier} PROPERTIES UNITY_BUILD OFF)  # few and large: better side by side
  # Skylake to Cascade Lake decode a loop anew each time round when its jump touches a 32-byte boundary (the erratum "Jump
  # Conditional Code"): up to half the speed, by luck of the address.
  target_compile_options(codecllm_${tier} PRIVATE $<IF:$<CXX_COMPILER_ID:GNU>,-Wa$<COMMA>-mbranches-within-32B-boundaries,-mbranches-within-32B-boundaries>)
  # g++ 12's own intrinsics headers trip the first two (GCC bug 105593); the third is about vectors as template arguments.
  target_compile_options(codecllm_${tier} PRIVATE ${kernel_level} ${ARGN}
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized -Wno-ignored-attributes>)
  set(isa_objects ${isa_objects} $<TARGET_OBJECTS:codecllm_${tier}> PARENT_SCOPE)
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" AND kernel_sources)
  target_compile_definitions(codecllm_objects PRIVATE CODECLLM_X86_TIERS)
  set(avx512 -mavx2 -mfma -mf16c -mbmi2 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  add_isa_tier(avx2 kernel_sources -mavx2 -mfma -mf16c -mbmi2)
  add_isa_tier(avx512 kernel_sources ${avx512})
  add_isa_tier(avx512vbmi vbmi_sources ${avx512} -mavx512vbmi -mavx512vbmi2)
  add_isa_tier(avx512bf16 bf16_sources ${avx512} -mavx512vbmi -mavx512vbmi2 -mavx512bf16)
endif()
