internal import CAttentionKernels

/// The threads that compute: the package's own pool, never Swift's cooperative one.
public enum ComputeThreads {
    /// How many threads a computation uses, the caller's included.
    ///
    /// At first as many as the process may use, or what `ATTENTION_THREADS` says; from 1 to 512. No result
    /// depends on it.
    public static var count: Int {
        get { sattn_thread_count() }
        set { sattn_set_thread_count(max(1, newValue)) }
    }
}

/// Calls `body` once for each index in `0..<count`, on the pool's threads, and returns when all are done.
///
/// The parallel loop of the package; ``parallelSteps(_:items:finishing:_:)`` is that of work in steps. Bodies write to places of their own: nothing else orders them.
package func parallel(_ count: Int, _ body: (Int) -> Void) {
    withoutActuallyEscaping(body) { body in
        withUnsafePointer(to: body) { pointer in
            // Safe: `sattn_parallel` returns only when every call of the closure has ended.
            sattn_parallel(count, UnsafeMutableRawPointer(mutating: pointer)) { context, index in
                context?.assumingMemoryBound(to: ((Int) -> Void).self).pointee(index)
            }
        }
    }
}

/// Calls `body` once for each item of each step, on the pool's threads: the items of a step in any order, and none
/// before the step before is over.
///
/// A thread takes the same items in every step, as long as all keep pace, so that what an item reads in each step stays
/// in the cache of its core. A step costs less than a call of ``parallel(_:_:)`` for each would.
///
/// `finish` is called after a step's last item, by whoever did it, and before the next step begins.
func parallelSteps(
    _ stepCount: Int, items: Int, finishing finish: (_ step: Int) -> Void = { _ in },
    _ body: (_ step: Int, _ item: Int) -> Void
) {
    withoutActuallyEscaping(body) { body in
        withoutActuallyEscaping(finish) { finish in
            withUnsafePointer(to: Steps(body: body, finish: finish)) { pointer in
                // Safe: `sattn_parallel_steps` returns only when every call of the closures has ended.
                sattn_parallel_steps(
                    stepCount, items, UnsafeMutableRawPointer(mutating: pointer),
                    { $0?.assumingMemoryBound(to: Steps.self).pointee.body($1, $2) },
                    { $0?.assumingMemoryBound(to: Steps.self).pointee.finish($1) })
            }
        }
    }
}

/// What ``parallelSteps(_:items:finishing:_:)`` calls.
private struct Steps {
    let body: (_ step: Int, _ item: Int) -> Void
    let finish: (_ step: Int) -> Void
}
