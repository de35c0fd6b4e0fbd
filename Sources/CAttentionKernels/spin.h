#ifndef SPIN_H
#define SPIN_H

// How a thread waits for another: a moment of spinning before it sleeps.

#include <stdint.h>
#include <time.h>

/// Nanoseconds of spinning before sleep: some times what a sleeping thread takes to wake.
static const int64_t SPIN_NANOSECONDS = 30000;

static inline int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

#endif
