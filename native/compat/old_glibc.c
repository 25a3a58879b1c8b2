/* What lets a module that is built on a newer Linux load on every system that libtorch itself loads on:
 * glibc 2.28 and the libstdc++ of GCC 8. A reference to a function is bound to the newest version of its
 * symbol that the building system has, and older systems lack that version although they have the function.
 * These definitions stay inside the module, so that its other sources bind to them; they call the old
 * versions. scripts/package checks the result. */

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#define OLD(name, symbol, version) __asm__(".symver " #name ", " #symbol "@" version)

/* The first version of glibc for a processor, and the layout of `struct stat` that its programs name. */
#if defined(__aarch64__)
#define FIRST "GLIBC_2.17"
#define STAT_LAYOUT 0
#else
#define FIRST "GLIBC_2.2.5"
#define STAT_LAYOUT 1
#endif

/* 2.29 */

double old_pow(double base, double exponent);
OLD(old_pow, pow, FIRST);

double pow(double base, double exponent) {
  return old_pow(base, exponent);
}

/* 2.32 */

int old_pthread_sigmask(int how, const sigset_t* set, sigset_t* previous);
OLD(old_pthread_sigmask, pthread_sigmask, FIRST);

int pthread_sigmask(int how, const sigset_t* set, sigset_t* previous) {
  return old_pthread_sigmask(how, set, previous);
}

/* Whether the process has one thread only, which spares libstdc++ atomic instructions. Here it never has. */
char __libc_single_threaded = 0;

/* 2.33: before, these were inline functions over others, which take the layout's version. */

int __xstat(int layout, const char* path, struct stat* result);
int __fxstat(int layout, int descriptor, struct stat* result);
OLD(__xstat, __xstat, FIRST);
OLD(__fxstat, __fxstat, FIRST);

int stat(const char* path, struct stat* result) {
  return __xstat(STAT_LAYOUT, path, result);
}

int fstat(int descriptor, struct stat* result) {
  return __fxstat(STAT_LAYOUT, descriptor, result);
}

/* 2.30: before, libstdc++ translated a time of another clock into one of the system's, as is done here. */

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const struct timespec* until) {
  if (clock == CLOCK_REALTIME) return pthread_cond_timedwait(condition, mutex, until);
  const long second = 1000000000;
  struct timespec now, translated;
  clock_gettime(clock, &now);
  clock_gettime(CLOCK_REALTIME, &translated);
  translated.tv_sec += until->tv_sec - now.tv_sec;
  translated.tv_nsec += until->tv_nsec - now.tv_nsec;
  if (translated.tv_nsec < 0) {
    translated.tv_nsec += second;
    --translated.tv_sec;
  } else if (translated.tv_nsec >= second) {
    translated.tv_nsec -= second;
    ++translated.tv_sec;
  }
  return pthread_cond_timedwait(condition, mutex, &translated);
}

/* 2.34, which moved them from a library of their own. */

void* old_dlopen(const char* path, int mode);
char* old_dlerror(void);
OLD(old_dlopen, dlopen, FIRST);
OLD(old_dlerror, dlerror, FIRST);

void* dlopen(const char* path, int mode) {
  return old_dlopen(path, mode);
}

char* dlerror(void) {
  return old_dlerror();
}

/* GCC 12: std::condition_variable::wait(std::unique_lock<std::mutex>&) */

void old_wait(void* condition, void* lock);
OLD(old_wait, _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE, "GLIBCXX_3.4.11");

void _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE(void* condition, void* lock) {
  old_wait(condition, lock);
}
