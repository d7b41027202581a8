// SPDX-License-Identifier: Apache-2.0
#include "quant/output.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "io/safetensors.h"

namespace codecllm {

namespace fs = std::filesystem;

// A journal here is of a call that was killed when all else was done. That of a partial output is somebody's work, whatever
// name it is called by.
void refuse_existing_output(const std::string& output) {
  std::error_code code;
  const fs::path own = fs::canonical(output, code);
  if (!code && own.extension() != ".partial") ::unlink((own / kJournalFile).c_str());
  refuse_existing(output);
}

PartialOutput::PartialOutput(std::string directory, std::unique_ptr<WeightFiles> files, const std::string& fingerprint)
    : directory_(without_trailing_slashes(std::move(directory))), files_(std::move(files)) {
  refuse_existing(directory_);
  partial_ = directory_ + ".partial";
  journal_path_ = partial_ + "/" + kJournalFile;
  make_directories(partial_);
  lock_.emplace(partial_);
  if (!take_up(fingerprint)) start_over(fingerprint);
}

// A journal is the fingerprint, then {"done": source tensor, "wrote": [[name, dtype, shape, file, checksum], ...]} line by
// line.
void PartialOutput::read_line(const std::string& line) {
  const Json json = parse_json(line, journal_path_);
  if (!json.is_object() || !json.contains("wrote")) throw Error(ErrorCode::bad_input, "write", "not a line of a journal", {.file = journal_path_});
  for (const Json& entry : json["wrote"]) {
    const auto dtype = entry.is_array() && entry.size() == 5 && entry[1].is_string() ? dtype_from_name(entry[1].get<std::string>()) : std::nullopt;
    if (!dtype) throw Error(ErrorCode::bad_input, "write", "not a line of a journal", {.file = journal_path_});
    written_.push_back({{entry[0].get<std::string>(), *dtype, entry[2].get<std::vector<int64_t>>()}, entry[3].get<size_t>(), entry[4].get<uint64_t>()});
  }
  done_.insert(json_need<std::string>(json, "done", journal_path_));
}

bool PartialOutput::take_up(const std::string& fingerprint) {
  if (fingerprint.empty() || !file_exists(journal_path_)) return false;
  const std::string journal = read_file(journal_path_);
  // A line counts only with its end: the last one may have been cut off by the interruption.
  const size_t at = journal.find('\n');
  if (at == std::string::npos || journal.substr(0, at) != fingerprint) return false;
  size_t whole = at + 1;
  bool usable = true;
  try {
    for (size_t end; (end = journal.find('\n', whole)) != std::string::npos; whole = end + 1) read_line(journal.substr(whole, end - whole));
    usable = files_->take_up(partial_, written_);
  } catch (const std::exception&) {  // a damaged journal
    usable = false;
  }
  if (!usable) {
    done_.clear();
    written_.clear();
    return false;
  }
  logged_ = written_.size();
  journal_ = OutputFile(journal_path_, OutputFile::Mode::modify);
  journal_.truncate(whole);
  journal_bytes_ = whole;
  return true;
}

void PartialOutput::start_over(const std::string& fingerprint) {
  if (!file_exists(journal_path_) && !fs::is_empty(partial_))
    throw Error(ErrorCode::bad_call, "quantize", "this directory is not one that quantize left; remove it or choose another name",
                {.file = partial_});
  journal_ = OutputFile(journal_path_, OutputFile::Mode::create);
  for (const auto& entry : fs::directory_iterator(partial_))
    if (entry.path() != journal_path_) fs::remove_all(entry.path());
  try {
    files_->create(partial_);
  } catch (...) {
    discard();
    throw;
  }
  log_line(fingerprint);
}

void PartialOutput::log_line(const std::string& text) {
  const std::string line = text + "\n";
  journal_.write_at(journal_bytes_, line.data(), line.size());
  journal_bytes_ += line.size();
}

void PartialOutput::added(const TensorDecl& decl) { written_.push_back(files_->added(decl)); }

void PartialOutput::mark_done(const std::string& tensor) {
  files_->sync();
  OrderedJson wrote = OrderedJson::array();
  for (; logged_ < written_.size(); ++logged_) {
    const WrittenTensor& t = written_[logged_];
    wrote.push_back({t.decl.name, dtype_name(t.decl.dtype), t.decl.shape, t.shard, t.checksum});
  }
  log_line(dump_json({{"done", tensor}, {"wrote", wrote}}));
  done_.insert(tensor);
}

void PartialOutput::finish_weights() {
  const auto headers = files_->finish();
  std::map<std::string, FileChecksums> sums;
  for (const auto& [name, header] : headers) sums[name].header = stored_checksum(std::as_bytes(std::span(header)));
  for (const WrittenTensor& tensor : written_) sums[headers[tensor.shard].first].tensors[tensor.decl.name] = tensor.checksum;
  write_file(kChecksumFile, checksums_text(sums));
}

void PartialOutput::write_file(const std::string& base_name, std::string_view text) {
  write_file_atomically(partial_ + "/" + base_name, text);
}

// The journal goes last: without it nothing tells that the directory is ours.
void PartialOutput::commit() {
  lock_->sync();
  if (::rename(partial_.c_str(), directory_.c_str()) != 0)
    throw Error(ErrorCode::io, "write", std::strerror(errno), {.file = directory_});
  ::unlink((directory_ + "/" + kJournalFile).c_str());
}

void PartialOutput::discard() {
  std::error_code ignored;
  fs::remove_all(partial_, ignored);
}

}  // namespace codecllm
