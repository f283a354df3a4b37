#include "stream/map_instance.h"

#include "common/base/check.h"
#include "stream/varint.h"

namespace millrace::internal {

std::string too_long(int64_t max_record_bytes) {
  return "longer than " + std::to_string(max_record_bytes) + " bytes";
}

void MapInstance::add(std::unique_ptr<MapNode> node) {
  by_number_.resize(node_ + 1);
  by_number_[node_] = node.get();
  nodes_.push_back(std::move(node));
}

void MapInstance::end_chunk(Verdicts& verdicts) {
  step();
  for (const auto& node : nodes_) node->end_chunk(verdicts);
  for (const auto& node : nodes_) node->commit(verdicts);
}

Status MapInstance::run_level(int32_t level) {
  for (LevelSource* source : level_sources_) {
    source->begin_level();
    while (source->give_next(verdicts_)) {
      end_chunk(verdicts_);
      if (verdicts_.problems().empty()) continue;
      return fail(ErrorCode::kInvalid, "the job's code threw an exception (behind shuffle " + std::to_string(level) +
                                           "): " + verdicts_.problems().front().second);
    }
  }
  return {};
}

int64_t MapInstance::take_emitted() {
  int64_t emitted = 0;
  for (const Edge& edge : edges_) emitted += edge.writer->take_emitted();
  return emitted;
}

std::vector<ShuffleBlock::Section> MapInstance::finish() {
  const auto partitions = static_cast<size_t>(state_partitions_);
  std::vector<std::vector<uint64_t>> pieces(edges_.size(), std::vector<uint64_t>(partitions));
  std::vector<uint64_t> sizes(partitions);
  for (size_t i = 0; i < edges_.size(); ++i) {
    edges_[i].writer->measure(pieces[i]);
    for (size_t p = 0; p < partitions; ++p) {
      const uint64_t bytes = pieces[i][p];
      if (bytes != 0) sizes[p] += varint_size(edges_[i].number) + varint_size(bytes) + bytes;
    }
  }

  auto buffer = std::make_shared<std::string>();
  buffer->resize(std::accumulate(sizes.begin(), sizes.end(), size_t{0}));
  std::vector<ShuffleBlock::Section> sections;
  std::vector<char*> ends(partitions);
  char* at = buffer->data();
  for (size_t p = 0; p < partitions; ++p) {
    if (sizes[p] == 0) continue;
    sections.push_back({StatePartition(static_cast<int32_t>(p)), SharedBuffer(buffer, std::string_view(at, sizes[p]))});
    ends[p] = at;
    at += sizes[p];
  }
  std::vector<char*> places(partitions);
  for (size_t i = 0; i < edges_.size(); ++i) {
    for (size_t p = 0; p < partitions; ++p) {
      const uint64_t bytes = pieces[i][p];
      if (bytes == 0) continue;
      places[p] = put_varint(put_varint(ends[p], edges_[i].number), bytes);
      ends[p] = places[p] + bytes;
    }
    edges_[i].writer->write(places);
    for (size_t p = 0; p < partitions; ++p) {
      CHECK(pieces[i][p] == 0 || places[p] == ends[p]) << "a value's Codec wrote other than size() bytes";
    }
  }
  clear();
  return sections;
}

void MapInstance::clear() {
  for (const auto& node : nodes_) node->clear();
}

}  // namespace millrace::internal
