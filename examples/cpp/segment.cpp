// Segment one object in a photo: a bundle of sam-edge, ONNX Runtime's C++ API, and nothing else.
//
//     segment BUNDLE PHOTO MASK.png X,Y[,LABEL]...
//
// Points are in the photo's pixels, label 1 (on the object, the default) or 0. What each step must
// do is docs/other-languages.md; the mask is that of `sam-edge segment`.

#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb_image_write.h>

using Bytes = std::vector<std::uint8_t>;
using Floats = std::vector<float>;
const char DIGITS[] = "0123456789";

struct Spec {
  int size;          // side S of the encoder's frame
  Floats mean, std;  // RGB, in 0..255
};

// The manifest's `image`: found by its keys, as this example reads nothing else of it.
Spec read_spec(const std::filesystem::path& bundle) {
  std::ifstream file(bundle / "manifest.json");
  if (!file) throw std::runtime_error(bundle.string() + " is no bundle: it has no manifest.json");
  const std::string all(std::istreambuf_iterator<char>(file), {});
  const auto image = all.substr(std::min(all.size(), all.find("\"image\"")));
  auto numbers = [&](const std::string& key, int count) {
    Floats found;
    const auto at = image.find("\"" + key + "\"");
    if (at == std::string::npos) throw std::runtime_error("the manifest has no image." + key);
    const char* here = image.c_str() + image.find_first_of(DIGITS, at);
    for (char* end = nullptr; count > 0; --count, here = end + std::strcspn(end, DIGITS))
      found.push_back(std::strtof(here, &end));
    return found;
  };
  auto has = [&](const char* word) { return image.find(word) != std::string::npos; };
  if (!has("\"longest_side\"") || !has("\"square\""))
    throw std::runtime_error("this example reads bundles of a padded square frame alone");
  return {static_cast<int>(numbers("size", 1)[0]), numbers("mean", 3), numbers("std", 3)};
}

// One axis of Pillow's BILINEAR: a triangle as wide as the shrinking, in 22-bit fixed point, and
// rounded to 8 bits. `line` and `step` are how far apart lines, and pixels of one line, lie.
void resize_axis(const Bytes& from, Bytes& to, int lines, int in, int out, int from_line, int from_step,
                 int to_line, int to_step) {
  const double scale = static_cast<double>(in) / out, filter = std::max(scale, 1.0);
  for (int x = 0; x < out; ++x) {
    const double centre = (x + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - filter + 0.5));
    const int last = std::min(in, static_cast<int>(centre + filter + 0.5));
    auto weight = [&](int tap) { return std::max(0.0, 1 - std::abs((tap - centre + 0.5) / filter)); };
    double sum = 0;
    for (int tap = first; tap < last; ++tap) sum += weight(tap);
    std::vector<int> fixed;
    for (int tap = first; tap < last; ++tap)
      fixed.push_back(static_cast<int>(0.5 + weight(tap) / sum * (1 << 22)));
    for (int line = 0; line < lines; ++line)
      for (int channel = 0; channel < 3; ++channel) {
        int total = 1 << 21;
        for (int tap = first; tap < last; ++tap)
          total += fixed[tap - first] * from[line * from_line + tap * from_step + channel];
        to[line * to_line + x * to_step + channel] = std::clamp(total >> 22, 0, 255);
      }
  }
}

// Bilinear, corners not aligned, without antialiasing: torch's interpolate on logits.
Floats resize_logits(const float* from, int stride, int height, int width, int new_height, int new_width) {
  Floats to(static_cast<std::size_t>(new_height) * new_width);
  auto place = [](int at, int in, int out, int& low, int& high) {
    const float real = std::max(0.f, (at + 0.5f) * (static_cast<float>(in) / out) - 0.5f);
    low = std::min(static_cast<int>(real), in - 1);
    high = std::min(low + 1, in - 1);
    return real - low;
  };
  for (int y = 0; y < new_height; ++y)
    for (int x = 0; x < new_width; ++x) {
      int top, bottom, left, right;
      const float down = place(y, height, new_height, top, bottom);
      const float across = place(x, width, new_width, left, right);
      auto row = [&](const float* line) { return (1 - across) * line[left] + across * line[right]; };
      to[static_cast<std::size_t>(y) * new_width + x] =
          (1 - down) * row(from + top * stride) + down * row(from + bottom * stride);
    }
  return to;
}

Ort::Value tensor(Floats& values, std::vector<std::int64_t> shape) {
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  return Ort::Value::CreateTensor<float>(memory, values.data(), values.size(), shape.data(), shape.size());
}

void run(int count, char** words) {
  if (count < 5) throw std::runtime_error("usage: segment BUNDLE PHOTO MASK.png X,Y[,LABEL]...");
  const std::filesystem::path bundle = words[1];
  const Spec spec = read_spec(bundle);
  const int S = spec.size, low = S / 4;

  int W, H, channels;
  std::uint8_t* decoded = stbi_load(words[2], &W, &H, &channels, 3);
  if (decoded == nullptr) throw std::runtime_error(std::string(words[2]) + ": " + stbi_failure_reason());
  const Bytes photo(decoded, decoded + static_cast<std::size_t>(W) * H * 3);
  stbi_image_free(decoded);

  // 1. The longest side becomes S; halves round up.
  const double scale = static_cast<double>(S) / std::max(H, W);
  const int h = std::max(1, static_cast<int>(H * scale + 0.5));
  const int w = std::max(1, static_cast<int>(W * scale + 0.5));
  Bytes narrow(static_cast<std::size_t>(w) * H * 3), small(static_cast<std::size_t>(w) * h * 3);
  resize_axis(photo, narrow, H, W, w, W * 3, 3, w * 3, 3);
  resize_axis(narrow, small, w, H, h, 3, w * 3, 3, w * 3);

  // 2. Normalise, then pad with zeros at the bottom and right.
  Floats image(3 * static_cast<std::size_t>(S) * S);
  for (int channel = 0; channel < 3; ++channel)
    for (int y = 0; y < h; ++y)
      for (int x = 0; x < w; ++x)
        image[(static_cast<std::size_t>(channel) * S + y) * S + x] =
            (small[(y * w + x) * 3 + channel] - spec.mean[channel]) / spec.std[channel];

  // 3. Points in the frame, each axis by its own scale; a padding point follows, as there is no box.
  Floats coords, labels;
  for (int word = 4; word < count; ++word) {
    double x, y;
    int label = 1;
    if (std::sscanf(words[word], "%lf,%lf,%d", &x, &y, &label) < 2)
      throw std::runtime_error("expected X,Y[,LABEL], got " + std::string(words[word]));
    coords.insert(coords.end(), {static_cast<float>(x * w / W), static_cast<float>(y * h / H)});
    labels.push_back(static_cast<float>(label));
  }
  const bool lone = labels.size() == 1;
  coords.insert(coords.end(), {0.f, 0.f});
  labels.push_back(-1.f);

  // 4. The graphs. An int8 bundle has an encoder of its own for ONNX Runtime.
  Ort::Env environment(ORT_LOGGING_LEVEL_WARNING, "segment");
  auto path = bundle / "image_encoder.onnxruntime.onnx";
  if (!std::filesystem::exists(path)) path = bundle / "image_encoder.onnx";
  Ort::Session encoder(environment, path.c_str(), Ort::SessionOptions{});
  Ort::Session decoder(environment, (bundle / "prompt_encoder_mask_decoder.onnx").c_str(),
                       Ort::SessionOptions{});
  const char *encoder_in[] = {"image"}, *encoder_out[] = {"image_embeddings"};
  const Ort::Value input = tensor(image, {1, 3, S, S});
  auto embedding = encoder.Run(Ort::RunOptions{}, encoder_in, &input, 1, encoder_out, 1);

  Floats no_mask(static_cast<std::size_t>(low) * low), has_mask{0.f};
  const auto points = static_cast<std::int64_t>(labels.size());
  std::vector<Ort::Value> feeds;
  feeds.push_back(std::move(embedding[0]));
  feeds.push_back(tensor(coords, {1, points, 2}));
  feeds.push_back(tensor(labels, {1, points}));
  feeds.push_back(tensor(no_mask, {1, 1, low, low}));
  feeds.push_back(tensor(has_mask, {1}));
  const char* decoder_in[] = {"image_embeddings", "point_coords", "point_labels", "mask_input",
                              "has_mask_input"};
  const char* decoder_out[] = {"low_res_masks", "iou_predictions"};
  auto answers = decoder.Run(Ort::RunOptions{}, decoder_in, feeds.data(), feeds.size(), decoder_out, 2);

  // 5. A lone point may mean three things: the best-scored. Any other prompt: output 0.
  const float* scores = answers[1].GetTensorData<float>();
  const int chosen = lone ? static_cast<int>(std::max_element(scores + 1, scores + 4) - scores) : 0;

  // 6. Up to the frame, the padding off, on to the photo; above 0 is foreground.
  const float* logits = answers[0].GetTensorData<float>() + static_cast<std::size_t>(chosen) * low * low;
  const Floats frame = resize_logits(logits, low, low, low, S, S);
  const Floats full = resize_logits(frame.data(), S, h, w, H, W);
  Bytes mask(full.size());
  for (std::size_t at = 0; at < full.size(); ++at) mask[at] = full[at] > 0 ? 255 : 0;
  if (!stbi_write_png(words[3], W, H, 1, mask.data(), W))
    throw std::runtime_error(std::string(words[3]) + " cannot be written");
  const auto pixels = static_cast<long>(std::count(mask.begin(), mask.end(), 255));
  std::printf("%s  score %.3f  %ld pixels\n", words[3], scores[chosen], pixels);
}

int main(int count, char** words) {
  try {
    run(count, words);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "segment: %s\n", error.what());
  }
  return 1;
}
