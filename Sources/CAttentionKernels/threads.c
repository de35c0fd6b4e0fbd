// A pool of POSIX threads under one function, `sattn_parallel`.
//
// A job is published in one atomic word, the gate:
//
//     generation (47 bits) | open (1 bit) | workers inside (16 bits)
//
// A worker enters by adding 1 to an open gate of a generation that it has not seen, so it can neither enter
// a job that is over nor read one that is being written. The caller works as well, closes the gate when no
// index is left, and waits for the workers inside; a worker that woke too late is not waited for.
//
// Both sides spin for a moment before they sleep, since jobs come microseconds apart. A pool at rest sleeps.
//
// A caller that finds the pool taken works alone, and the pool makes room for it: as many workers stay out as
// there are such callers, so that no more threads compute than the pool has.
//
// A fork leaves the workers behind: a child that goes on without exec must not call `sattn_parallel`.

#if defined(__linux__)
#define _GNU_SOURCE
#include <sched.h>
#endif

#include "CAttentionKernels.h"
#include "spin.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAXIMUM_THREADS = 512 };

static const uint64_t INSIDE = 0xFFFF;
static const uint64_t OPEN = 0x10000;
static const uint64_t GENERATION = ~(uint64_t)0x1FFFF;
static const uint64_t NEXT_GENERATION = 0x20000;

/// Held by the call that has the pool, and by `sattn_set_thread_count`.
static pthread_mutex_t ownership = PTHREAD_MUTEX_INITIALIZER;

static pthread_t workers[MAXIMUM_THREADS];
static size_t worker_count;
static atomic_bool stopping;

/// What a job needs, in one cache line, which goes from one processor to the other once and not word by word: with
/// the gate and the next index in lines of their own an empty job of two items took 195 ns instead of 160 (Zen 5).
static _Alignas(64) struct {
    _Atomic(uint64_t) gate;
    atomic_size_t next_index;
    atomic_size_t thread_count;
    /// How many callers work beside the pool.
    atomic_size_t lone_callers;
    atomic_size_t sleeper_count;
    // Written by the owner alone, while the gate is closed and nobody inside.
    size_t count;
    void *context;
    void (*body)(void *context, size_t index);
} job;

/// Guards sleep and wake only.
static _Alignas(64) pthread_mutex_t sleep_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t job_published = PTHREAD_COND_INITIALIZER;
static pthread_cond_t job_left = PTHREAD_COND_INITIALIZER;

/// Whether this thread works on a job: a call from inside one has no thread to gain.
static _Thread_local bool is_working;

// MARK: - How many threads

/// The processors that `quota` per `period` amounts to, rounded up; `limit` if there is no quota.
static size_t quota_limit(long long quota, long long period, size_t limit) {
    if (quota <= 0 || period <= 0) return limit;
    long long processors = (quota - 1) / period + 1;
    return processors < (long long)limit ? (size_t)processors : limit;
}

#if defined(__linux__)
/// Reads up to two integers from a file; those that it lacks, as where it says `max`, are -1.
static void read_integers(const char *folder, const char *name, long long values[2]) {
    values[0] = values[1] = -1;
    char path[4200];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return;
    FILE *file = fopen(path, "re");
    if (file == NULL) return;
    if (fscanf(file, "%lld %lld", &values[0], &values[1]) < 1) values[0] = -1;
    fclose(file);
}

/// The smallest quota of a control group and the groups that contain it.
static size_t control_group_limit(const char *mount, const char *group, size_t limit) {
    char folder[4160];
    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder) return limit;
    for (;;) {
        long long quota[2], period[2];
        read_integers(folder, "cpu.max", quota);  // version 2: both in one file
        limit = quota_limit(quota[0], quota[1], limit);
        read_integers(folder, "cpu.cfs_quota_us", quota);  // version 1
        read_integers(folder, "cpu.cfs_period_us", period);
        limit = quota_limit(quota[0], period[0], limit);
        // A container may see the host's path of its group; the mount itself, which ends the walk, is then
        // the container's group.
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < strlen(mount)) return limit;
        *slash = '\0';
    }
}
#endif

/// What this process may use: its affinity, within its control groups' quotas.
static size_t usable_processors(void) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t limit = online > 0 ? (size_t)online : 1;
#if defined(__linux__)
    cpu_set_t set[8];  // 8192 processors
    if (sched_getaffinity(0, sizeof set, set) == 0) {
        int allowed = CPU_COUNT_S(sizeof set, set);
        if (allowed > 0) limit = (size_t)allowed;
    }
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (file == NULL) return limit;
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        // hierarchy:controllers:group, and no controllers in version 2.
        char *group = line;
        strsep(&group, ":");
        char *controllers = strsep(&group, ":");
        if (group == NULL) continue;
        if (*controllers == '\0') limit = control_group_limit("/sys/fs/cgroup", group, limit);
        for (char *one; (one = strsep(&controllers, ",")) != NULL;)
            if (strcmp(one, "cpu") == 0) limit = control_group_limit("/sys/fs/cgroup/cpu", group, limit);
    }
    fclose(file);
#endif
    return limit;
}

static size_t clamped(size_t count) {
    return count < 1 ? 1 : count > MAXIMUM_THREADS ? MAXIMUM_THREADS : count;
}

static void choose_thread_count(void) {
    size_t count = usable_processors();
    const char *wish = getenv("ATTENTION_THREADS");
    if (wish != NULL && *wish >= '0' && *wish <= '9') {
        char *end;
        errno = 0;
        unsigned long number = strtoul(wish, &end, 10);
        if (*end == '\0' && errno == 0) count = number;
    }
    atomic_store(&job.thread_count, clamped(count));
}

size_t sattn_thread_count(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, choose_thread_count);
    return atomic_load(&job.thread_count);
}

// MARK: - Spinning

/// How many workers may be at work: what callers beside the pool leave of it.
static uint64_t worker_limit(void) {
    size_t threads = atomic_load(&job.thread_count) - 1, lone = atomic_load(&job.lone_callers);
    return lone < threads ? threads - lone : 0;
}

/// Spins until the gate shows a generation other than `seen`, or the time is over, or the processor is needed by a
/// caller beside the pool; returns the gate.
static uint64_t spin_while_seen(uint64_t seen) {
    int64_t start = nanoseconds();
    for (;;) {
        uint64_t state = atomic_load(&job.gate);
        if ((state & GENERATION) != seen || atomic_load(&job.lone_callers) > 0
            || nanoseconds() - start > SPIN_NANOSECONDS)
            return state;
        pause_briefly();
    }
}

/// Spins until nobody is inside, or the time is over; says whether anyone still is.
static bool spin_while_inside(void) {
    int64_t start = nanoseconds();
    for (;;) {
        if ((atomic_load(&job.gate) & INSIDE) == 0) return false;
        if (nanoseconds() - start > SPIN_NANOSECONDS) return true;
        pause_briefly();
    }
}

// MARK: - Working

/// Works as long as there are indices; a worker, as long as there is room for it.
static void work_on_job(bool is_worker) {
    is_working = true;
    while (!is_worker || (atomic_load(&job.gate) & INSIDE) <= worker_limit()) {
        size_t index = atomic_fetch_add_explicit(&job.next_index, 1, memory_order_relaxed);
        if (index >= job.count) break;
        job.body(job.context, index);
    }
    is_working = false;
}

static void *worker_main(void *unused) {
    (void)unused;
    uint64_t seen = 0;
    for (;;) {
        uint64_t state = spin_while_seen(seen);
        if ((state & GENERATION) == seen) {
            pthread_mutex_lock(&sleep_mutex);
            // Counted before the gate is looked at, as the caller sets the gate before it looks at the count:
            // one of the two sees the other.
            atomic_fetch_add(&job.sleeper_count, 1);
            while (((state = atomic_load(&job.gate)) & GENERATION) == seen)
                pthread_cond_wait(&job_published, &sleep_mutex);
            atomic_fetch_sub(&job.sleeper_count, 1);
            pthread_mutex_unlock(&sleep_mutex);
        }
        if (atomic_load(&stopping)) return NULL;
        seen = state & GENERATION;
        bool entered = false;
        while (!entered && (state & OPEN) && (state & GENERATION) == seen && (state & INSIDE) < worker_limit())
            entered = atomic_compare_exchange_weak(&job.gate, &state, state + 1);
        if (!entered) continue;
        work_on_job(true);
        uint64_t before = atomic_fetch_sub(&job.gate, 1);
        if (!(before & OPEN) && (before & INSIDE) == 1) {
            pthread_mutex_lock(&sleep_mutex);
            pthread_cond_signal(&job_left);
            pthread_mutex_unlock(&sleep_mutex);
        }
    }
}

/// Starts the workers that are still missing; where the system refuses one, the pool makes do with fewer.
static void start_workers(size_t wanted) {
    if (worker_count >= wanted) return;
    // Signals are for the program's own threads.
    sigset_t all, previous;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    // What glibc gives a thread; others give much less.
    pthread_attr_setstacksize(&attributes, (size_t)8 << 20);
    while (worker_count < wanted
           && pthread_create(&workers[worker_count], &attributes, worker_main, NULL) == 0)
        worker_count++;
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &previous, NULL);
}

static void publish(uint64_t state, size_t wake_count) {
    atomic_store(&job.gate, state);
    size_t sleepers = atomic_load(&job.sleeper_count);
    if (sleepers == 0 || wake_count == 0) return;
    pthread_mutex_lock(&sleep_mutex);
    if (wake_count >= sleepers)
        pthread_cond_broadcast(&job_published);
    else
        for (size_t i = 0; i < wake_count; i++) pthread_cond_signal(&job_published);
    pthread_mutex_unlock(&sleep_mutex);
}

static void work_alone(size_t count, void *context, void (*body)(void *context, size_t index)) {
    for (size_t i = 0; i < count; i++) body(context, i);
}

void sattn_parallel(size_t count, void *context, void (*body)(void *context, size_t index)) {
    if (count < 2 || is_working || sattn_thread_count() < 2) {
        work_alone(count, context, body);
        return;
    }
    if (pthread_mutex_trylock(&ownership) != 0) {
        is_working = true;
        atomic_fetch_add(&job.lone_callers, 1);
        work_alone(count, context, body);
        atomic_fetch_sub(&job.lone_callers, 1);
        is_working = false;
        return;
    }
    job.count = count;
    job.context = context;
    job.body = body;
    atomic_store_explicit(&job.next_index, 0, memory_order_relaxed);
    start_workers(atomic_load(&job.thread_count) - 1);
    uint64_t limit = worker_limit();
    publish(((atomic_load(&job.gate) & GENERATION) + NEXT_GENERATION) | OPEN, count - 1 < limit ? count - 1 : limit);

    work_on_job(false);
    atomic_fetch_and(&job.gate, ~OPEN);
    if (spin_while_inside()) {
        pthread_mutex_lock(&sleep_mutex);
        while ((atomic_load(&job.gate) & INSIDE) != 0) pthread_cond_wait(&job_left, &sleep_mutex);
        pthread_mutex_unlock(&sleep_mutex);
    }
    pthread_mutex_unlock(&ownership);
}

void sattn_set_thread_count(size_t count) {
    sattn_thread_count();  // so that the default, chosen once, does not come after this
    pthread_mutex_lock(&ownership);
    if (clamped(count) - 1 < worker_count) {
        // Fewer workers: all leave, and the next call starts those that it needs.
        atomic_store(&stopping, true);
        publish((atomic_load(&job.gate) & GENERATION) + NEXT_GENERATION, worker_count);
        for (size_t i = 0; i < worker_count; i++) pthread_join(workers[i], NULL);
        worker_count = 0;
        atomic_store(&stopping, false);
    }
    atomic_store(&job.thread_count, clamped(count));
    pthread_mutex_unlock(&ownership);
}
