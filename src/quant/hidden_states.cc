// SPDX-License-Identifier: Apache-2.0
#include "quant/hidden_states.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "codecllm/error.h"

namespace codecllm {

HiddenStates::HiddenStates(const std::string& directory, int64_t values_per_sample)
    : directory_(directory), sample_bytes_(values_per_sample * static_cast<int64_t>(sizeof(float))) {
  std::string path = directory + "/hidden-XXXXXX";
  fd_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (fd_ < 0) fail();
  ::unlink(path.c_str());
}

HiddenStates::~HiddenStates() { ::close(fd_); }

void HiddenStates::fail() const {
  throw Error(ErrorCode::io, "calibrate", std::string("hidden states cannot be kept on disk: ") + std::strerror(errno),
              {.file = directory_});
}

void HiddenStates::write(int64_t sample, std::span<const float> values) {
  const auto bytes = std::as_bytes(values);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t put = ::pwrite(fd_, bytes.data() + at, bytes.size() - at, sample * sample_bytes_ + static_cast<off_t>(at));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) fail();
    at += static_cast<size_t>(put);
  }
}

void HiddenStates::read(int64_t sample, std::span<float> values) const {
  const auto bytes = std::as_writable_bytes(values);
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t got = ::pread(fd_, bytes.data() + at, bytes.size() - at, sample * sample_bytes_ + static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail();
    at += static_cast<size_t>(got);
  }
}

}  // namespace codecllm
