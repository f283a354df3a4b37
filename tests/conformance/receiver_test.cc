// Receivers of the real kinds: with a server on a loopback port, and with files in a directory.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "adapters/file_descriptor.h"
#include "adapters/line_splitter.h"
#include "adapters/open_receiver.h"
#include "tests/conformance/temporary_directory.h"

namespace millrace {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Lines = std::vector<std::string>;

constexpr auto kPatience = std::chrono::seconds(60);

class Target final : public ReceiverTarget {
 public:
  bool append(const ReceivedLines& received) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !held_ || closed_; });
    int64_t number = received.first_line;
    keys_.push_back(received.key);
    for (const std::string_view line : received.lines) {
      lines_.emplace_back(line);
      places_.push_back(std::string(received.origin) + ":" + std::to_string(number++));
    }
    changed_.notify_all();
    return !closed_ && keys_.size() < most_groups_;
  }
  void tell_problem(std::string problem) override {
    const std::scoped_lock lock(mutex_);
    problem_ = std::move(problem);
    problems_.push_back(problem_);
    ++told_;
    if (on_told_) on_told_(told_);
    changed_.notify_all();
  }
  void tell_share(double share) override {
    const std::scoped_lock lock(mutex_);
    shares_.push_back(share);
  }
  void end(Status status) override {
    const std::scoped_lock lock(mutex_);
    ended_ = std::move(status);
    changed_.notify_all();
  }

  // On the receiver's thread, whenever it has told whether there is a problem: how often it has.
  void on_told(std::function<void(int)> action) { on_told_ = std::move(action); }
  // Waits in append(), or takes nothing and says so.
  void hold() { set(held_); }
  void close() { set(closed_); }

  Lines lines(size_t count) {
    wait([&] { return lines_.size() >= count; });
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  Lines places() {
    const std::scoped_lock lock(mutex_);
    return places_;
  }
  void wait_for_problem(const std::string& text) {
    wait([&] { return problem_.find(text) != std::string::npos && (!text.empty() || problem_.empty()); });
  }
  // It takes so many groups and says then that it takes no more.
  void refuse_after(size_t groups) { most_groups_ = groups; }
  void wait_for_refusal() {
    wait([this] { return keys_.size() >= most_groups_; });
  }
  // Until it is told once more whether there is a problem.
  void wait_for_look() {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, [this, before = told_] { return told_ > before; }));
  }
  Lines problems() {
    const std::scoped_lock lock(mutex_);
    return problems_;
  }
  std::vector<uint64_t> keys() {
    const std::scoped_lock lock(mutex_);
    return keys_;
  }
  std::vector<double> shares() {
    const std::scoped_lock lock(mutex_);
    return shares_;
  }
  Status ended() {
    wait([&] { return ended_.has_value(); });
    const std::scoped_lock lock(mutex_);
    return ended_.value_or(fail(ErrorCode::kInternal, "it has not ended"));
  }

 private:
  void set(bool& what) {
    const std::scoped_lock lock(mutex_);
    what = true;
    changed_.notify_all();
  }
  void wait(const std::function<bool()>& condition) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(changed_.wait_for(lock, kPatience, condition))
        << lines_.size() << " lines, problem: '" << problem_ << "'";
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Lines lines_;
  Lines places_;
  Lines problems_;
  std::vector<double> shares_;
  std::vector<uint64_t> keys_;
  size_t most_groups_ = SIZE_MAX;
  std::string problem_ = "nothing told yet";
  std::function<void(int)> on_told_;
  int told_ = 0;
  std::optional<Status> ended_;
  bool held_ = false;
  bool closed_ = false;
};

void add(Lines& lines, std::span<const std::string_view> more) {
  lines.insert(lines.end(), more.begin(), more.end());
}

TEST(LineSplitter, LinesAreTheSameHoweverTheirBytesAreCut) {
  const std::string text = "one\n\ntwo\r\n\r\n\rthr\ree\nno end\r";
  for (size_t size = 1; size <= text.size(); ++size) {
    LineSplitter splitter(6);
    Lines lines;
    for (size_t begin = 0; begin < text.size(); begin += size) add(lines, splitter.add(text.substr(begin, size)));
    EXPECT_EQ(splitter.pending_bytes(), 7);
    add(lines, splitter.finish());
    EXPECT_THAT(lines, ElementsAre("one", "", "two", "", "\rthr\ree", "no end")) << size;
    EXPECT_THAT(splitter.finish(), IsEmpty());
  }
}

TEST(LineSplitter, OfALineThatIsTooLongJustSoMuchIsKeptThatItIsSeen) {
  const std::string text = "12345\n12345\r\n123456\n123456\r\n12345\r7\n" + std::string(1000, 'x') + "\nend";
  for (const size_t size : {1, 3, 7, 2000}) {
    LineSplitter splitter(5);
    Lines lines;
    for (size_t begin = 0; begin < text.size(); begin += size) add(lines, splitter.add(text.substr(begin, size)));
    add(lines, splitter.finish());
    EXPECT_THAT(lines, ElementsAre("12345", "12345", "123456", "123456", "12345\r", "xxxxxx", "end")) << size;
  }
}

// A server with one connection at a time.
class Server {
 public:
  explicit Server(uint16_t port = 0) : listening_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int on = 1;
    ::setsockopt(listening_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    socklen_t size = sizeof(address);
    const bool bound = ::bind(listening_.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0 &&
                       ::listen(listening_.get(), 1) == 0 &&
                       ::getsockname(listening_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0;
    EXPECT_TRUE(bound) << std::strerror(errno);
    port_ = ntohs(address.sin_port);
  }
  [[nodiscard]] uint16_t port() const { return port_; }
  void accept() {
    connection_ = FileDescriptor(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(connection_.valid());
  }
  void send(std::string_view text) const {
    ASSERT_EQ(::send(connection_.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  void end_connection() { connection_.reset(); }
  // As the kernel of a machine does that has forgotten it.
  void break_connection() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(connection_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    connection_.reset();
  }

 private:
  FileDescriptor listening_;
  FileDescriptor connection_;
  uint16_t port_ = 0;
};

std::unique_ptr<Receiver> open(const std::string& uri, bool until_latest = false, bool take_away = false) {
  auto receiver = open_receiver({uri, 1000, until_latest, take_away});
  EXPECT_TRUE(receiver) << receiver.error();
  return receiver ? std::move(*receiver) : nullptr;
}

std::string local(uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

TEST(SocketReceiver, AServerThatComesLateOrIsRestartedIsTakenUp) {
  std::optional<Server> server(std::in_place);
  const uint16_t port = server->port();
  server.reset();
  Target target;
  const auto receiver = open("socket://" + local(port));
  receiver->start(target);
  target.wait_for_problem("cannot connect to " + local(port) + ": Connection refused; start the server there");
  server.emplace(port);
  server->accept();
  server->send("one\ntw");
  EXPECT_THAT(target.lines(1), ElementsAre("one"));
  target.wait_for_problem("");
  server->send("o\r\nthe last has no end");
  server->end_connection();
  EXPECT_THAT(target.lines(3), ElementsAre("one", "two", "the last has no end"));
  server->accept();  // it comes again by itself
  server->send("four\n");
  EXPECT_THAT(target.lines(4), Contains("four"));
  server.reset();
  target.wait_for_problem("Connection refused");
  server.emplace(port);
  server->accept();
  server->send("five\n");
  target.lines(5);
  EXPECT_THAT(target.places(), ElementsAre(local(port) + ":1", local(port) + ":2", local(port) + ":3",
                                           local(port) + ":4", local(port) + ":5"));
}

TEST(SocketReceiver, ALineThatABrokenConnectionCutsOffIsNotCountedAndIsTold) {
  Server server;
  Target target;
  const auto receiver = open("socket://" + local(server.port()));
  receiver->start(target);
  server.accept();
  server.send("whole\ncut!");
  target.lines(1);
  server.break_connection();
  server.accept();
  server.send("more\n");
  EXPECT_THAT(target.lines(2), ElementsAre("whole", "more"));
  EXPECT_THAT(target.problems(), Contains(AllOf(HasSubstr("broke: Connection reset"), HasSubstr("first 4 bytes"))));
}

TEST(SocketReceiver, AServerThatEndsEveryConnectionIsTold) {
  Server server;
  Target target;
  const auto receiver = open("socket://" + local(server.port()));
  receiver->start(target);
  server.accept();
  server.end_connection();
  target.wait_for_problem("ends connections without having sent anything");
}

TEST(SocketReceiver, AHostWithoutAnAddressIsTold) {
  Target target;
  const auto receiver = open("socket://" + std::string(70, 'x') + ":1");  // names have 63 letters at most
  receiver->start(target);
  target.wait_for_problem("xxx' cannot be found");
}

TEST(SocketReceiver, ItEndsWhileTheLogIsFullAndWhenNoMoreIsTaken) {
  for (const bool held : {true, false}) {
    Server server;
    Target target;
    if (held) target.hold();
    auto receiver = open("socket://" + local(server.port()));
    receiver->start(target);
    server.accept();
    server.send("one\n");
    if (!held) target.lines(1);
    target.close();
    receiver.reset();
  }
}

class DirectoryReceiverTest : public testing::Test {
 protected:
  void start(bool until_latest = false, bool take_away = false) {
    receiver_ = open("directory://" + path_, until_latest, take_away);
    ASSERT_NE(receiver_, nullptr);
    receiver_->start(target_);
  }
  // Writes it elsewhere and renames it into the directory.
  void put(const std::string& name, const std::string& text, int64_t changed_s = 1'000'000) {
    write(elsewhere_.path() + "/" + name, text);
    set_changed(elsewhere_.path() + "/" + name, changed_s);
    std::filesystem::rename(elsewhere_.path() + "/" + name, path_ + "/" + name);
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream file(path, std::ios::app);
    file << text;
    ASSERT_TRUE(file.flush().good());
  }
  static void set_changed(const std::string& path, int64_t seconds) {
    const timespec times[2] = {{seconds, 0}, {seconds, 0}};
    ASSERT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  }

  const TemporaryDirectory directory_;
  const TemporaryDirectory elsewhere_;
  const std::string path_ = directory_.path() + "/in";
  Target target_;
  std::unique_ptr<Receiver> receiver_;

  void SetUp() override { std::filesystem::create_directory(path_); }
  void TearDown() override {
    target_.close();
    receiver_.reset();
  }
};

TEST_F(DirectoryReceiverTest, FilesAreTakenInTheOrderOfTheirTimesAndNamesEachOnce) {
  put("younger", "fourth\r\nfifth", 3'000'000);
  put("b", "third\n", 2'000'000);
  put("a", "first\n\n", 2'000'000);
  put(".hidden", "no\n");
  std::filesystem::create_directory(path_ + "/folder");
  std::filesystem::create_symlink("nothing", path_ + "/dangling");
  start();
  EXPECT_THAT(target_.lines(5), ElementsAre("first", "", "third", "fourth", "fifth"));
  EXPECT_THAT(target_.places(), ElementsAre("a:1", "a:2", "b:1", "younger:1", "younger:2"));
  std::filesystem::rename(path_ + "/a", path_ + "/renamed");
  std::filesystem::create_hard_link(path_ + "/b", path_ + "/linked");
  std::filesystem::remove(path_ + "/younger");
  put("c", "sixth\n");
  target_.lines(6);
  put("b", "another file under an old name\n");
  EXPECT_THAT(target_.lines(7),
              ElementsAre("first", "", "third", "fourth", "fifth", "sixth", "another file under an old name"));
  target_.wait_for_problem("");
}

TEST_F(DirectoryReceiverTest, AFileIsNotTakenWhileItChanges) {
  put("growing", "begin\n", 1);
  target_.on_told([this](int looks) {
    if (looks < 4) set_changed(path_ + "/growing", looks + 1);
    if (looks == 2) put("other", "other\n");
  });
  start();
  EXPECT_THAT(target_.lines(2), ElementsAre("other", "begin"));
}

TEST_F(DirectoryReceiverTest, WhatIsAddedToATakenFileIsToldAndNotRead) {
  put("file", "taken\n");
  start();
  target_.lines(1);
  target_.wait_for_look();
  write(path_ + "/file", "added\n");
  target_.wait_for_problem(path_ + "/file' was changed after it had been taken");
  std::filesystem::remove(path_ + "/file");
  target_.wait_for_problem("");
  EXPECT_THAT(target_.lines(1), ElementsAre("taken"));
}

TEST_F(DirectoryReceiverTest, AFileThatCannotBeReadIsToldAndTheOthersGoOn) {
  std::filesystem::create_symlink("/proc/self/mem", path_ + "/no_file");  // not at its begin
  std::filesystem::create_symlink("loop", path_ + "/loop");
  put("file", "taken\n");
  start();
  EXPECT_THAT(target_.lines(1), ElementsAre("taken"));
  target_.wait_for_problem("(and 1 more like that)");
  std::filesystem::remove(path_ + "/loop");
  target_.wait_for_problem(path_ + "/no_file' cannot be read: Input/output error");
}

TEST_F(DirectoryReceiverTest, UntilLatestItEndsWithTheFilesThatAreThere) {
  put("1", "a\nb\n");
  put("2", "1234");
  start(true);
  EXPECT_TRUE(target_.ended());
  EXPECT_THAT(target_.lines(3), ElementsAre("a", "b", "1234"));
  EXPECT_THAT(target_.shares(), ElementsAre(0.5, 0.5, 1, 1));
}

TEST_F(DirectoryReceiverTest, UntilLatestAFileThatCannotBeReadIsAnError) {
  std::filesystem::create_symlink("/proc/self/mem", path_ + "/no_file");
  put("file", "a\n");
  start(true);
  const Status ended = target_.ended();
  ASSERT_FALSE(ended);
  EXPECT_THAT(ended.error().message, HasSubstr("no_file' cannot be read: Input/output error"));
}

TEST_F(DirectoryReceiverTest, WhatIsHandedOnOnceMoreHasTheKeysItHad) {
  std::string text;
  for (int line = 0; line < 60'000; ++line) text += "line " + std::to_string(line) + "\n";  // several groups
  put("file", text);
  target_.refuse_after(2);
  start(false, true);
  target_.lines(1);
  target_.wait_for_refusal();
  receiver_.reset();
  EXPECT_TRUE(std::filesystem::exists(path_ + "/file"));

  Target again;
  const auto second = open("directory://" + path_, false, true);
  second->start(again);
  const Lines lines = again.lines(60'000);
  EXPECT_EQ(lines.back(), "line 59999");
  again.wait_for_look();
  ASSERT_GT(again.keys().size(), 2U);
  EXPECT_EQ(target_.keys()[0], again.keys()[0]);
  EXPECT_EQ(target_.keys()[1], again.keys()[1]);
  const std::vector<uint64_t> keys = again.keys();
  EXPECT_EQ(std::set<uint64_t>(keys.begin(), keys.end()).size(), keys.size());
  EXPECT_TRUE(std::filesystem::exists(path_ + "/.taken/file"));
  put("file", text, 2'000'000);
  again.lines(120'000);
  again.wait_for_look();
  EXPECT_FALSE(std::filesystem::exists(path_ + "/file"));
  EXPECT_NE(again.keys()[0], again.keys()[again.keys().size() / 2]);
}

// What an unmounted share looks like.
TEST_F(DirectoryReceiverTest, ADirectoryInThePlaceOfTheFirstIsNotTakenForIt) {
  put("file", "a\n");
  start();
  target_.lines(1);
  std::filesystem::rename(path_, path_ + "-away");
  target_.wait_for_problem("cannot be read: No such file or directory");
  std::filesystem::create_directory(path_);
  put("other", "no\n");
  target_.wait_for_problem("is another one than at the start");
  std::filesystem::remove_all(path_);
  std::filesystem::rename(path_ + "-away", path_);
  put("new", "b\n");
  EXPECT_THAT(target_.lines(2), ElementsAre("a", "b"));
}

TEST(OpenReceiver, WhatIsWrongIsSaid) {
  const auto message = [](const std::string& uri, bool until_latest = false) {
    const auto receiver = open_receiver({uri, 1000, until_latest});
    return receiver ? std::string() : receiver.error().message;
  };
  const TemporaryDirectory directory;
  std::ofstream(directory.path() + "/file") << "text";
  EXPECT_THAT(message("directory://" + directory.path() + "/none"),
              HasSubstr("/none' cannot be read: No such file or directory; correct --source, or make"));
  EXPECT_THAT(message("directory://" + directory.path() + "/file"), HasSubstr("Not a directory"));
  EXPECT_THAT(message("socket://host"), HasSubstr("the port is missing"));
  EXPECT_THAT(message("socket://host:0"), HasSubstr("no port 0"));
  EXPECT_THAT(message("socket://host:1/path"), HasSubstr("expected socket://HOST:PORT"));
  EXPECT_THAT(message("socket://host:1", true), HasSubstr("until Ctrl-C"));
}

}  // namespace
}  // namespace millrace
