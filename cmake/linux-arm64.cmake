# For a build of the addon for Linux on ARM (64 bits) on another machine:
#   cmake -G Ninja -S . -B build-arm64 -DCMAKE_TOOLCHAIN_FILE=cmake/linux-arm64.cmake -DIP2P_LIBTORCH=/path/to/its/libtorch
# The compiler is that of Debian's and Ubuntu's package g++-aarch64-linux-gnu. scripts/arm64.mjs does all of this.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
# Programs are this machine's; libraries and headers of the system are not.
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
