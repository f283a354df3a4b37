#include "stream/map_instance.h"

#include "common/base/check.h"
#include "stream/varint.h"

namespace millrace::internal {

std::unexpected<Error> threw(const std::string& where, const std::string& what) {
  return fail(ErrorCode::kInvalid, "the job's code threw an exception in " + where + ": " + what +
                                       "; nothing is lost: mend the code and `millrace upgrade` the job");
}

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
  for (committing_ = 0; committing_ < nodes_.size(); ++committing_) nodes_[committing_]->commit(verdicts);
  committing_ = SIZE_MAX;
}

Status MapInstance::run_level(const std::function<std::string(NodeId)>& name_of) {
  for (const auto& [node, source] : level_sources_) {
    source->begin_level();
    while (source->give_next(verdicts_)) {
      end_chunk(verdicts_);
      if (verdicts_.problems().empty()) continue;
      return threw(name_of(node), verdicts_.problems().front().second);
    }
  }
  return {};
}

std::optional<EdgeId> MapInstance::merging() const {
  if (direct_consumer_ != nullptr) return edges_.front().number;
  for (const Edge& edge : edges_) {
    if (edge.node == committing_) return edge.number;
  }
  return std::nullopt;
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
    committing_ = edges_[i].node;  // what waits to be merged is
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
  committing_ = SIZE_MAX;
  for (const auto& node : nodes_) node->clear();
}

}  // namespace millrace::internal
