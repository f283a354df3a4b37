// The line of least squares of all points so far, exactly but for rounding.
#include "jobs/models.h"
#include "jobs/numbers.h"
#include "millrace/job.h"

MILLRACE_JOB(linear_regression, "how a number follows from others, of lines `y x1 x2 ...`: the line of least squares") {
  using millrace::Point;
  const auto dimension = static_cast<size_t>(job.number("dimension", 1, 1, 100, "numbers x1, x2, ... behind y"));
  const auto half_life = job.number("half-life", 0, 0, 1'000'000'000'000,
                                    "a point counts half as much when so many have come after it; 0: as much");
  const double kept = millrace::kept_after(1, static_cast<double>(half_life));
  job.lines()
      .map([dimension](std::string_view line) { return millrace::numbers_of(line, dimension + 1); })
      .key_by([](const Point&) { return std::string_view("model"); })
      .update_state_by_key<millrace::Moments>(
          [kept](std::span<const Point> points, std::optional<millrace::Moments> moments) {
            if (!moments) moments.emplace();
            for (const Point& point : points) moments->add(point, kept);
            return moments;
          },
          {.name = "moments of " + std::to_string(dimension), .only_changed = true})
      .publish("model");
}
