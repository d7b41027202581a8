// SPDX-License-Identifier: Apache-2.0
// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "codecllm/export.h"

namespace codecllm {

enum class ErrorCode {
  bad_input = 1,      // the thing asked about is bad: a damaged file, NaN weights, a failed check
  bad_call = 2,       // the call is wrong: unknown option, shape that does not fit, index out of range
  unsupported = 3,    // well-formed, but not in this version
  io = 4,             // the operating system refused: no such file, disk full
  interrupted = 130,  // the cancel callback said stop
};

// Where the error is. Empty strings are left out of the message.
struct ErrorPlace {
  std::string file = {};
  std::string tensor = {};
};

class CODECLLM_API Error : public std::runtime_error {
 public:
  // The message reads "[op] what (tensor T) in F". `what` is one sentence without a final full stop: what is
  // wrong, what was got, what was expected, and the remedy where there is one.
  Error(ErrorCode code, std::string_view op, std::string_view what, ErrorPlace place = {});

  ErrorCode code() const { return code_; }
  const std::string& op() const { return op_; }
  const ErrorPlace& place() const { return place_; }

  // Exit code of the command line: 1 the thing is bad, 2 the call is wrong or not supported, 130 interrupted.
  int exit_code() const;

 private:
  ErrorCode code_;
  std::string op_;
  ErrorPlace place_;
};

}  // namespace codecllm
