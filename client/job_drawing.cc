#include "client/job_drawing.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <ostream>
#include <sstream>

#include "common/base/text.h"

namespace millrace::client {
namespace {

// In pixels. Letters of one width are of about this one in all fonts of that kind.
constexpr int kLetter = 8;
constexpr int kLine = 18;
constexpr int kPadding = 10;
constexpr int kBetweenColumns = 56;
constexpr int kBetweenRows = 20;
constexpr int kHead = 74;  // above the boxes: the title, and the stages' names
constexpr int kMargin = 16;

constexpr std::array<std::string_view, 5> kKinds = {"source", "chain", "state", "table", "output"};  // as JobPart::Kind

constexpr size_t kLettersOfLine = 32;
constexpr size_t kLinesOfFact = 4;

constexpr char kStyle[] = R"(
text { font: 13px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1b2733; white-space: pre; }
.title { font-size: 16px; font-weight: bold; }
.name { font-weight: bold; }
.fact, .stage-name { fill: #51606e; }
.page { fill: #ffffff; }
.stage { fill: #f1f4f7; }
.box { fill: #ffffff; stroke: #7b8794; stroke-width: 1.5; }
.source .box { stroke: #2f7d4f; }
.state .box { stroke: #2563a8; }
.table .box, .output .box { stroke: #a35a00; }
.way { fill: none; stroke: #7b8794; stroke-width: 1.5; }
.shuffle { stroke: #2563a8; stroke-dasharray: 5 3; }
.tip { fill: #7b8794; }
@media (prefers-color-scheme: dark) {
text { fill: #e3e8ed; }
.fact, .stage-name { fill: #a7b2bd; }
.page { fill: #14191e; }
.stage { fill: #1d242b; }
.box { fill: #14191e; stroke: #8996a3; }
.source .box { stroke: #5fbf85; }
.state .box { stroke: #6aa5e8; }
.table .box, .output .box { stroke: #e09a45; }
.way { stroke: #8996a3; }
.shuffle { stroke: #6aa5e8; }
.tip { fill: #8996a3; }
}
)";

// Of what is printable.
std::string escaped(const std::string& text) {
  std::string xml;
  for (const char sign : text) {
    switch (sign) {
      case '&': xml += "&amp;"; break;
      case '<': xml += "&lt;"; break;
      case '>': xml += "&gt;"; break;
      case '"': xml += "&quot;"; break;
      default: xml += sign;
    }
  }
  return xml;
}

bool begins_letter(char sign) {
  return (static_cast<unsigned char>(sign) & 0xC0) != 0x80;
}

// Lines of at most so many letters, broken behind blanks where there are some; what is more than `most` lines is left
// out.
std::vector<std::string> wrapped(const std::string& text, size_t most) {
  std::vector<std::string> lines;
  std::string rest = printable(text);
  while (!rest.empty()) {
    if (lines.size() == most) {
      lines.back() += " ...";
      break;
    }
    size_t end = 0;
    size_t blank = 0;
    for (size_t letters = 0; end < rest.size(); ++end) {
      if (begins_letter(rest[end]) && letters++ == kLettersOfLine) break;
      if (rest[end] == ' ') blank = end + 1;
    }
    if (end < rest.size() && blank > 0) end = blank;
    lines.push_back(rest.substr(0, end));
    rest.erase(0, end);
    while (lines.back().ends_with(' ')) lines.back().pop_back();
  }
  return lines;
}

// A part, or a place that a way from one part to another one goes through in a column between theirs.
struct Box {
  std::optional<size_t> part;
  size_t column = 0;
  std::vector<size_t> before;  // in the column to the left
  std::string name;
  std::vector<std::string> names;
  std::vector<std::string> facts;
  double middle = 0;  // of those before it, while rows are chosen
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;
};

class Drawing {
 public:
  Drawing(const JobShape& shape, int32_t state_partitions) : shape_(shape), state_partitions_(state_partitions) {
    choose_columns();
    choose_rows();
    place();
  }

  void write(std::ostream& out, const std::string& title) const {
    const int width = std::max(width_, 2 * kMargin + kLetter * 5 / 4 * static_cast<int>(width_of(title)));
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"" << width << "\" height=\"" << height_
        << "\" viewBox=\"0 0 " << width << " " << height_ << "\">\n<title>" << escaped(title) << "</title>\n<style>"
        << kStyle << "</style>\n<rect class=\"page\" width=\"" << width << "\" height=\"" << height_ << "\"/>\n";
    write_text(out, "title", kMargin, kMargin + 14, title);
    for (const auto& [number, stage] : stages_) write_stage(out, number, stage);
    for (const Box& box : boxes_) {
      for (const size_t before : box.before) write_way(out, boxes_[before], box);
    }
    for (const Box& box : boxes_) {
      if (box.part) write_box(out, box);
    }
    out << "</svg>\n";
  }

 private:
  struct Stage {
    int from_x;
    int to_x;
  };

  // A part stands behind all that it is from, and behind all of the stages before its own. Long ways get places in the
  // columns between.
  void choose_columns() {
    std::vector<size_t> column(shape_.size());
    std::map<int32_t, size_t> last;  // column of a stage
    std::vector<size_t> order(shape_.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::stable_sort(order, {}, [this](size_t part) { return shape_[part].stage; });
    for (const size_t part : order) {
      const JobPart& each = shape_[part];
      const auto after = last.lower_bound(each.stage);
      if (after != last.begin()) column[part] = std::prev(after)->second + 1;
      for (const size_t from : each.from) column[part] = std::max(column[part], column[from] + 1);
      size_t& until = last.try_emplace(each.stage, column[part]).first->second;
      until = std::max(until, column[part]);
    }
    for (size_t part = 0; part < shape_.size(); ++part) {
      Box& box = boxes_.emplace_back();
      box.part = part;
      box.column = column[part];
      box.names = wrapped(shape_[part].name, kLinesOfFact);
      for (const std::string& fact : shape_[part].facts)
        std::ranges::copy(wrapped(fact, kLinesOfFact), std::back_inserter(box.facts));
    }
    for (size_t part = 0; part < shape_.size(); ++part) {
      for (size_t from : shape_[part].from) {
        for (size_t between = column[from] + 1; between < column[part]; ++between) {
          Box& box = boxes_.emplace_back();
          box.column = between;
          box.before = {from};
          from = boxes_.size() - 1;
        }
        boxes_[part].before.push_back(from);
      }
    }
  }

  // Each beside those that it is from, as far as the others of its column leave room.
  void choose_rows() {
    for (size_t box = 0; box < boxes_.size(); ++box) {
      if (columns_.size() <= boxes_[box].column) columns_.resize(boxes_[box].column + 1);
      columns_[boxes_[box].column].push_back(box);
    }
    std::vector<double> row(boxes_.size());
    for (std::vector<size_t>& column : columns_) {
      for (const size_t box : column) {
        double sum = 0;
        for (const size_t before : boxes_[box].before) sum += row[before];
        boxes_[box].middle = boxes_[box].before.empty() ? 0 : sum / static_cast<double>(boxes_[box].before.size());
      }
      std::ranges::stable_sort(column, {}, [this](size_t box) { return boxes_[box].middle; });
      for (size_t i = 0; i < column.size(); ++i)
        row[column[i]] = static_cast<double>(i) / static_cast<double>(column.size());
    }
  }

  void place() {
    int x = kMargin + kPadding;
    std::optional<int32_t> stage;
    for (const std::vector<size_t>& column : columns_) {
      size_t letters = 0;
      int32_t its_stage = 0;
      for (const size_t box : column) {
        if (!boxes_[box].part) continue;
        its_stage = shape_[*boxes_[box].part].stage;
        for (const auto* lines : {&boxes_[box].names, &boxes_[box].facts}) {
          for (const std::string& line : *lines) letters = std::max(letters, width_of(line));
        }
      }
      if (stage && *stage != its_stage) x = stages_.at(*stage).to_x + kBetweenColumns + kPadding;
      stage = its_stage;
      const int width = 2 * kPadding + kLetter * static_cast<int>(std::max<size_t>(letters, 8));
      int y = kHead + kPadding;
      for (const size_t index : column) {
        Box& box = boxes_[index];
        box.x = x;
        box.y = y;
        box.width = width;
        const auto lines = static_cast<int>(1 + box.names.size() + box.facts.size());
        box.height = box.part ? 2 * kPadding + kLine * lines - kLine / 4 : kLine;
        y += box.height + kBetweenRows;
      }
      const auto name = static_cast<int>(width_of(name_of_stage(its_stage, state_partitions_)));
      Stage& ground = stages_.try_emplace(its_stage, Stage{x - kPadding, x + kPadding + kLetter * name}).first->second;
      ground.to_x = std::max(ground.to_x, x + width + kPadding);
      bottom_ = std::max(bottom_, y - kBetweenRows);
      x += width + kBetweenColumns;
      width_ = ground.to_x + kMargin;
    }
    for (const std::vector<size_t>& column : columns_) {  // in the middle of the height
      if (column.empty()) continue;
      const Box& last = boxes_[column.back()];
      const int down = (bottom_ - last.y - last.height) / 2;
      for (const size_t box : column) boxes_[box].y += down;
    }
    height_ = bottom_ + kPadding + kMargin;
  }

  static void write_text(std::ostream& out, const std::string& look, int x, int y, const std::string& text) {
    out << "<text class=\"" << look << "\" x=\"" << x << "\" y=\"" << y << "\">" << escaped(text) << "</text>\n";
  }

  void write_stage(std::ostream& out, int32_t number, const Stage& stage) const {
    out << "<rect class=\"stage\" x=\"" << stage.from_x << "\" y=\"" << kHead - kLine - kPadding << "\" width=\""
        << stage.to_x - stage.from_x << "\" height=\"" << bottom_ + 2 * kPadding + kLine - kHead << "\" rx=\"6\"/>\n";
    write_text(out, "stage-name", stage.from_x + kPadding, kHead - kPadding, name_of_stage(number, state_partitions_));
  }

  // Where there is no box the way goes straight on.
  void write_way(std::ostream& out, const Box& from, const Box& to) const {
    const int from_x = from.x + from.width;
    const int from_y = from.y + from.height / 2;
    const int to_y = to.y + to.height / 2;
    const int tip = to.part ? 7 : 0;
    const int bend = (to.x - tip - from_x) / 2;
    const bool shuffled = to.part && shape_[*to.part].kind != JobPart::Kind::kChain && is_shuffled(to);
    out << "<path class=\"way" << (shuffled ? " shuffle" : "") << "\" d=\"M" << from_x << " " << from_y << " C"
        << from_x + bend << " " << from_y << " " << to.x - tip - bend << " " << to_y << " " << to.x - tip << " "
        << to_y;
    if (!to.part) out << " H" << to.x + to.width;
    out << "\"/>\n";
    if (!to.part) return;
    out << "<path class=\"tip\" d=\"M" << to.x << " " << to_y << " l-9 -4.5 v9 z\"/>\n";
  }
  // What it takes comes from an earlier stage.
  [[nodiscard]] bool is_shuffled(const Box& box) const {
    const JobPart& part = shape_[*box.part];
    return std::ranges::any_of(part.from, [&](size_t from) { return shape_[from].stage < part.stage; });
  }

  void write_box(std::ostream& out, const Box& box) const {
    const JobPart& part = shape_[*box.part];
    out << "<g class=\"" << name_of(part.kind) << "\">\n<title>"
        << escaped(name_of(part.kind) + " " + printable(part.name));
    for (const std::string& fact : part.facts) out << "\n" << escaped(printable(fact));
    out << "</title>\n<rect class=\"box\" x=\"" << box.x << "\" y=\"" << box.y << "\" width=\"" << box.width
        << "\" height=\"" << box.height << "\" rx=\"" << (part.kind == JobPart::Kind::kState ? 12 : 3) << "\"/>\n";
    int y = box.y + kPadding + kLine * 2 / 3;
    write_text(out, "fact", box.x + kPadding, y, name_of(part.kind));
    for (const std::string& line : box.names) write_text(out, "name", box.x + kPadding, y += kLine, line);
    for (const std::string& line : box.facts) write_text(out, "fact", box.x + kPadding, y += kLine, line);
    out << "</g>\n";
  }

  const JobShape& shape_;
  const int32_t state_partitions_;
  std::vector<Box> boxes_;  // first the parts, by their numbers
  std::vector<std::vector<size_t>> columns_;
  std::map<int32_t, Stage> stages_;
  int bottom_ = 0;
  int width_ = 0;
  int height_ = 0;
};

}  // namespace

std::string name_of(JobPart::Kind kind) {
  return std::string(kKinds.at(static_cast<size_t>(kind)));
}

std::optional<JobPart::Kind> kind_from(const std::string& name) {
  const auto* const found = std::ranges::find(kKinds, name);
  if (found == kKinds.end()) return std::nullopt;
  return static_cast<JobPart::Kind>(found - kKinds.begin());
}

std::string name_of_stage(int32_t stage, int32_t state_partitions) {
  if (stage == 0) return "maps, beside the log's partitions";
  return "behind shuffle " + std::to_string(stage) + ", " + std::to_string(state_partitions) + " state partitions";
}

std::string draw_job(const std::string& title, const JobShape& shape, int32_t state_partitions) {
  std::ostringstream out;
  Drawing(shape, state_partitions).write(out, printable(title));
  return std::move(out).str();
}

}  // namespace millrace::client
