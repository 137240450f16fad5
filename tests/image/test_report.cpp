#include "engine/image/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/image/draw.h"
#include "engine/image/file.h"
#include "tests/image/image_data.h"

namespace actmatch::image_tests {
namespace {

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

// Every tag closes in the order it was opened, attributes are quoted, and no bare '<' or '&' stands in the text.
void expect_well_formed(const std::string& html) {
  const std::set<std::string> empty_tags = {"meta", "img", "br", "!DOCTYPE"};
  std::vector<std::string> open;
  for (size_t at = 0; at < html.size(); ++at) {
    if (html[at] == '&') {
      const size_t end = html.find(';', at);
      ASSERT_TRUE(end != std::string::npos && end - at <= 7) << "a bare & near: " << html.substr(at, 40);
    }
    ASSERT_NE(html[at], '>') << "a bare > near: " << html.substr(at > 40 ? at - 40 : 0, 80);
    if (html[at] != '<') continue;
    size_t end = at + 1;
    for (bool quoted = false; end < html.size() && (quoted || html[end] != '>'); ++end) {
      if (html[end] == '"') quoted = !quoted;
      ASSERT_NE(html[end], '<') << html.substr(at, 60);
    }
    ASSERT_LT(end, html.size()) << "a tag without an end: " << html.substr(at, 60);
    const std::string tag = html.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" /", 1) - (tag[0] == '/'));
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/' && !empty_tags.count(name)) {
      open.push_back(name);
    }
    at = end;
    if (name == "style" && tag[0] != '/') at = html.find("</style>", at) - 1;  // CSS is no markup
  }
  EXPECT_TRUE(open.empty());
}

std::vector<ReportItem> sample_items() {
  const Image noise = read_image(data_path("noise.png"));
  ReportItem item;
  item.title = "<script>alert('x')</script> & \"co\".jpg";
  item.class_line = "281 tabby, p = 0.94";
  item.pictures = {{"photo", encode_png(noise)}, {"mask", encode_png(draw_mask(std::vector<uint8_t>(60 * 60, 1), 60, 60))}};
  item.figures = {{"area", "7.3 %"}, {"stability", "29 of 32"}};
  LossCurve falling{"activation <phi>", {}}, gappy{"KL", {}};
  for (int i = 0; i < 1000; ++i) {
    falling.values.push_back(std::exp(-0.01f * static_cast<float>(i)));
    gappy.values.push_back(i % 100 == 7 ? std::nanf("") : i == 500 ? INFINITY : 0.5f);
  }
  item.curves = {falling, gappy};
  return {item, ReportItem{"bare", "", {}, {}, {}}};
}

TEST(Report, IsOneWellFormedPageThatNeedsNothingElse) {
  const std::string html = render_report({"Title & <more>", "lead", {{"model", "a<b.onnx"}}, "careful"}, sample_items());
  expect_well_formed(html);
  EXPECT_EQ(count(html, "<article>"), 2u);
  EXPECT_EQ(count(html, "<img "), 2u);
  EXPECT_EQ(count(html, "src=\"data:image/png;base64,"), 2u);
  EXPECT_EQ(count(html, "<svg "), 1u);
  EXPECT_EQ(count(html, "<script"), 0u) << "a title became markup";
  for (const char* outside : {"http:", "https:", "src=\"/", "url(", "@import", "onload"}) EXPECT_EQ(count(html, outside), 0u) << outside;
  EXPECT_NE(html.find("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;co&quot;.jpg"), std::string::npos);
  EXPECT_NE(html.find("7.3 %"), std::string::npos);
  const ReportItem first = sample_items().front();
  EXPECT_NE(html.find(base64(first.pictures[1].png)), std::string::npos) << "a picture is not in the page";
}

TEST(Report, EscapesHtml) {
  EXPECT_EQ(escape_html("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape_html(std::string("a\x01\0b\x7f", 5)), "a  b ");
  EXPECT_EQ(escape_html("Käse\n"), "Käse\n");
}

LossCurve curve(std::initializer_list<float> values) { return {"c", values}; }

TEST(ReportChart, ChoosesItsScale) {
  EXPECT_EQ(count(render_loss_chart({curve({1, 2, 3})}), "logarithmic"), 0u);
  EXPECT_EQ(count(render_loss_chart({curve({-3, 2, 3})}), "logarithmic"), 0u);
  EXPECT_EQ(count(render_loss_chart({curve({0.001f, 1, 3})}), ">step, values logarithmic<"), 1u);
  EXPECT_EQ(count(render_loss_chart({curve({-0.001f, 1, 3})}), ">step, values symmetric logarithmic<"), 1u);
  EXPECT_EQ(count(render_loss_chart({curve({0, 0.001f, 3})}), ">step, values symmetric logarithmic<"), 1u);
}

TEST(ReportChart, StaysInsideAndFinite) {
  const float big = 3e38f, tiny = 1e-38f;
  for (const auto& values : std::vector<std::vector<float>>{{5},
                                                            {5, 5, 5},
                                                            {0, 0},
                                                            {tiny, big},
                                                            {-big, big},
                                                            {-big, tiny, 0},
                                                            {1, NAN, 2, INFINITY, -INFINITY, 3},
                                                            {1, 1.0000001f},
                                                            {-7, -7},
                                                            {1e-20f, 1, 0, -1}}) {
    const std::string svg = render_loss_chart({{"c", values}});
    expect_well_formed(svg);
    EXPECT_EQ(count(svg, "nan"), 0u) << svg;
    EXPECT_EQ(count(svg, "inf"), 0u) << svg;
    // Every point of the path lies in the plot: x in 58..608, y in 12..232.
    const size_t begin = svg.find("<path d=\"") + 9;
    std::string path = svg.substr(begin, svg.find('"', begin) - begin);
    for (char& c : path)
      if (c == 'M' || c == 'L') c = ' ';
    const char* at = path.c_str();
    int points = 0;
    for (char* end = nullptr; *at; at = end, ++points) {
      const double x = std::strtod(at, &end);
      at = end;
      const double y = std::strtod(at, &end);
      ASSERT_NE(at, end) << path;
      EXPECT_TRUE(x >= 57.9 && x <= 608.1 && y >= 11.9 && y <= 232.1) << x << ", " << y;
    }
    EXPECT_GE(points, 1);
  }
  EXPECT_EQ(render_loss_chart({}), "");
  EXPECT_EQ(render_loss_chart({curve({NAN, INFINITY})}), "");
}

TEST(ReportChart, ThinsLongCurvesButKeepsSpikes) {
  LossCurve flat{"c", std::vector<float>(100000, 1.0f)};
  flat.values[54321] = 2;
  const std::string svg = render_loss_chart({flat});
  EXPECT_LT(svg.size(), 20000u);
  EXPECT_NE(svg.find(" 12.0"), std::string::npos) << "the spike reaches the top of the plot";
}

}  // namespace
}  // namespace actmatch::image_tests
