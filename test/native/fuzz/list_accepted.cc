// Prints the names of those files given that are well-formed safetensors, one a line.

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "core/safetensors_header.h"

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::ifstream file(argv[i], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s: cannot be read\n", argv[i]);
      return 1;
    }
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    try {
      ip2p::parse_safetensors_header(std::as_bytes(std::span(bytes)), bytes.size());
    } catch (const ip2p::SafetensorsError&) {
      continue;
    }
    std::puts(std::filesystem::path(argv[i]).filename().c_str());
  }
}
