// Work in steps on the thread pool, under one function, `sattn_parallel_steps`.
//
// Each item has a counter of the steps for which it was claimed. A thread claims an item for a step by raising it
// from the step's number to the next, first those items that are its own in every step, then those that nobody has
// claimed: so a thread that comes late, or never, holds nobody up. One more counter says how much of all work is
// done. Whoever does a step's last item finishes the step, and then the next one begins.

#include "CAttentionKernels.h"
#include "spin.h"

#include <stdatomic.h>
#include <time.h>

enum {
    /// Items beyond these are taken together: enough for as many threads as share a step with profit.
    MAXIMUM_GROUPS = 64,
    CACHE_LINE = 64,
    /// How often the counter is looked at before the time is.
    LOOKS = 64,
};

/// Alone in its cache line.
typedef struct {
    _Alignas(CACHE_LINE) atomic_size_t value;
} counter;

typedef struct {
    size_t step_count, item_count, group_count, thread_count;
    void *context;
    void (*body)(void *context, size_t step, size_t item);
    void (*finish)(void *context, size_t step);
    /// How many groups are done, those of all steps together.
    counter done;
    /// How many steps are over.
    counter over;
    /// For how many steps each group was claimed.
    counter claimed[MAXIMUM_GROUPS];
} steps;

/// Waits until `count` steps are over. Whoever is waited for works on a group: only where the processor was taken
/// from it does that last, and then it may need the one that spins here.
static void wait_until_over(steps *work, size_t count) {
    int64_t start = 0;
    for (;;) {
        for (int look = 0; look < LOOKS; look++) {
            if (atomic_load_explicit(&work->over.value, memory_order_acquire) >= count) return;
            pause_briefly();
        }
        int64_t now = nanoseconds();
        if (start == 0) start = now;
        if (now - start > SPIN_NANOSECONDS) {
            struct timespec moment = {0, SPIN_NANOSECONDS};
            nanosleep(&moment, NULL);
        }
    }
}

/// What one thread does: the groups from `first` on, around the end, in each step that is not over.
static void take_part(void *context, size_t index) {
    steps *work = context;
    size_t groups = work->group_count, first = index * groups / work->thread_count;
    size_t step = atomic_load_explicit(&work->over.value, memory_order_acquire);
    for (; step < work->step_count; step++) {
        for (size_t i = 0; i < groups; i++) {
            size_t group = first + i < groups ? first + i : first + i - groups;
            atomic_size_t *claimed = &work->claimed[group].value;
            size_t expected = step;
            if (atomic_load_explicit(claimed, memory_order_relaxed) != step
                || !atomic_compare_exchange_strong(claimed, &expected, step + 1))
                continue;
            size_t end = (group + 1) * work->item_count / groups;
            for (size_t item = group * work->item_count / groups; item < end; item++)
                work->body(work->context, step, item);
            if (atomic_fetch_add_explicit(&work->done.value, 1, memory_order_acq_rel) + 1 < (step + 1) * groups) continue;
            if (work->finish != NULL) work->finish(work->context, step);
            atomic_store_explicit(&work->over.value, step + 1, memory_order_release);
        }
        wait_until_over(work, step + 1);
    }
}

void sattn_parallel_steps(size_t step_count, size_t item_count, void *context,
                          void (*body)(void *context, size_t step, size_t item),
                          void (*finish)(void *context, size_t step)) {
    size_t threads = sattn_thread_count();
    if (item_count < 2 || threads < 2) {
        for (size_t step = 0; step < step_count; step++) {
            for (size_t item = 0; item < item_count; item++) body(context, step, item);
            if (finish != NULL) finish(context, step);
        }
        return;
    }
    steps work = {
        .step_count = step_count, .item_count = item_count, .context = context, .body = body, .finish = finish};
    work.group_count = item_count < MAXIMUM_GROUPS ? item_count : MAXIMUM_GROUPS;
    work.thread_count = threads < work.group_count ? threads : work.group_count;
    sattn_parallel(work.thread_count, &work, take_part);
}
