#pragma once

#include <cstdio>
#include <cstdlib>

/// A promise that must hold for every input; a fuzzer reports the abort with the input that broke it.
#define REQUIRE(condition)                                                                 \
  do {                                                                                     \
    if (!(condition)) {                                                                    \
      std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)
