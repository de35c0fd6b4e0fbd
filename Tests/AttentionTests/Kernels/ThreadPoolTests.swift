import CAttentionKernels
import Foundation
import Testing

private typealias Body = @Sendable (Int) -> Void

private func parallel(_ count: Int, _ body: @escaping Body) {
    // Safe: `body` outlives the call, which returns when every index is done.
    withUnsafePointer(to: body) { body in
        sattn_parallel(count, UnsafeMutableRawPointer(mutating: body)) { context, index in
            context?.assumingMemoryBound(to: Body.self).pointee(index)
        }
    }
}

private struct Steps {
    let body: @Sendable (_ step: Int, _ item: Int) -> Void
    let finish: @Sendable (_ step: Int) -> Void
}

private func parallelSteps(
    _ stepCount: Int, items: Int, finishing finish: @escaping @Sendable (Int) -> Void = { _ in },
    _ body: @escaping @Sendable (_ step: Int, _ item: Int) -> Void
) {
    // Safe: as above.
    withUnsafePointer(to: Steps(body: body, finish: finish)) { steps in
        sattn_parallel_steps(
            stepCount, items, UnsafeMutableRawPointer(mutating: steps),
            { $0?.assumingMemoryBound(to: Steps.self).pointee.body($1, $2) },
            { $0?.assumingMemoryBound(to: Steps.self).pointee.finish($1) })
    }
}

/// Counts, by index, under a lock.
private final class Visits: @unchecked Sendable {
    private let lock = NSLock()
    private var counts: [Int]

    init(count: Int) {
        counts = [Int](repeating: 0, count: count)
    }

    func visit(_ index: Int) {
        lock.withLock { counts[index] += 1 }
    }

    var all: [Int] {
        lock.withLock { counts }
    }
}

/// A counter for each index, each its own memory, so that bodies need no lock and threads meet at the pool.
private struct Tallies: @unchecked Sendable {
    let counts: UnsafeMutableBufferPointer<Int32>
}

@Suite(.serialized) struct `Thread pool` {
    /// Runs `body` with a number of threads, and restores the former.
    private func with(threads: Int, _ body: () throws -> Void) rethrows {
        let former = sattn_thread_count()
        sattn_set_thread_count(threads)
        defer { sattn_set_thread_count(former) }
        try body()
    }

    @Test(arguments: [1, 2, 3, 8])
    func `visits every index once`(threads: Int) {
        with(threads: threads) {
            for count in [0, 1, 2, 3, 7, 64, 1_000] {
                let visits = Visits(count: count)
                parallel(count) { visits.visit($0) }
                #expect(visits.all.allSatisfy { $0 == 1 })
            }
        }
    }

    @Test(arguments: [1, 2, 3, 8])
    func `goes through steps one after the other`(threads: Int) {
        with(threads: threads) {
            for (steps, items) in [(0, 3), (3, 0), (1, 1), (5, 1), (200, 2), (50, 7), (7, 131)] {
                let visits = Visits(count: steps * items)
                let early = Visits(count: max(1, steps))
                parallelSteps(steps, items: items) { step, item in
                    if step > 0, visits.all[(step - 1) * items..<step * items].contains(0) { early.visit(step) }
                    visits.visit(step * items + item)
                }
                #expect(visits.all.allSatisfy { $0 == 1 }, "\(steps) steps of \(items)")
                #expect(early.all.allSatisfy { $0 == 0 }, "\(steps) steps of \(items)")
            }
        }
    }

    @Test(arguments: [1, 2, 3, 8])
    func `finishes each step after its items and before the next`(threads: Int) {
        with(threads: threads) {
            for (steps, items) in [(1, 1), (5, 1), (200, 2), (50, 7), (7, 131)] {
                let visits = Visits(count: steps * items)
                let finished = Visits(count: steps)
                let untimely = Visits(count: steps)
                parallelSteps(steps, items: items) { step in
                    if visits.all[..<((step + 1) * items)].contains(0) { untimely.visit(step) }
                    finished.visit(step)
                } _: { step, item in
                    if finished.all[..<step].contains(0) { untimely.visit(step) }
                    visits.visit(step * items + item)
                }
                #expect(finished.all.allSatisfy { $0 == 1 }, "\(steps) steps of \(items)")
                #expect(untimely.all.allSatisfy { $0 == 0 }, "\(steps) steps of \(items)")
            }
        }
    }

    @Test func `goes through steps alone where another call has the pool`() {
        with(threads: 2) {
            let visits = Visits(count: 2 * 30)
            parallel(2) { index in
                parallelSteps(10, items: 3) { step, item in visits.visit((index * 10 + step) * 3 + item) }
            }
            #expect(visits.all.allSatisfy { $0 == 1 })
        }
    }

    @Test func `claims every index once however many threads want it`() {
        with(threads: 4) {
            let tallies = Tallies(counts: .allocate(capacity: 200_000))
            tallies.counts.initialize(repeating: 0)
            defer { tallies.counts.deallocate() }
            for _ in 0..<3 {
                parallel(200_000) { tallies.counts[$0] += 1 }
            }
            #expect(tallies.counts.allSatisfy { $0 == 3 })
        }
    }

    @Test func `runs bodies at the same time`() {
        with(threads: 2) {
            // Each waits for the other. Another test may have the pool for a moment: then again.
            let met = (0..<100).contains { _ in
                let arrivals = [DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)]
                let successes = Visits(count: 2)
                parallel(2) { index in
                    arrivals[index].signal()
                    if arrivals[1 - index].wait(timeout: .now() + 0.2) == .success { successes.visit(index) }
                }
                return successes.all == [1, 1]
            }
            #expect(met)
        }
    }

    @Test func `runs ten thousand small calls`() {
        with(threads: 4) {
            let visits = Visits(count: 3)
            for _ in 0..<10_000 {
                parallel(3) { visits.visit($0) }
            }
            #expect(visits.all == [10_000, 10_000, 10_000])
        }
    }

    @Test func `wakes after it has slept`() {
        with(threads: 3) {
            let visits = Visits(count: 5)
            for _ in 0..<20 {
                parallel(5) { visits.visit($0) }
                usleep(2_000)
            }
            #expect(visits.all.allSatisfy { $0 == 20 })
        }
    }

    @Test func `runs a call from inside a body`() {
        with(threads: 4) {
            let visits = Visits(count: 12 * 7)
            parallel(12) { outer in
                parallel(7) { visits.visit(outer * 7 + $0) }
            }
            #expect(visits.all.allSatisfy { $0 == 1 })
        }
    }

    @Test func `runs calls of several threads`() async {
        let former = sattn_thread_count()
        sattn_set_thread_count(3)
        let visits = Visits(count: 100)
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<200 {
                        parallel(100) { visits.visit($0) }
                    }
                }
            }
            group.addTask {
                for count in 1...20 {
                    sattn_set_thread_count(count % 5 + 1)
                }
            }
        }
        sattn_set_thread_count(former)
        #expect(visits.all.allSatisfy { $0 == 800 })
    }

    @Test func `a worker leaves its place to a caller beside the pool`() {
        with(threads: 2) {
            let (asked, started, done) = (
                DispatchSemaphore(value: 0), DispatchSemaphore(value: 0), DispatchSemaphore(value: 0)
            )
            let isBeside = Visits(count: 1)
            let beside = Thread {
                asked.wait()
                parallel(2) { index in
                    guard index == 0 else { return }
                    isBeside.visit(0)
                    started.signal()
                    _ = done.wait(timeout: .now() + 20)
                }
            }
            beside.start()
            let caller = pthread_self()
            let byWorker = Visits(count: 1)
            parallel(2_000) { index in
                if index == 0 {
                    asked.signal()
                    _ = started.wait(timeout: .now() + 20)
                }
                if isBeside.all[0] == 1 && pthread_equal(pthread_self(), caller) == 0 { byWorker.visit(0) }
            }
            done.signal()
            // It may have claimed one index before the other caller came.
            #expect(byWorker.all[0] <= 1)
        }
    }

    @Test func `takes from one to 512 threads`() {
        with(threads: 2) {
            #expect(sattn_thread_count() == 2)
            for (asked, given) in [(0, 1), (1, 1), (5, 5), (512, 512), (100_000, 512), (3, 3)] {
                sattn_set_thread_count(asked)
                #expect(sattn_thread_count() == given)
            }
            let visits = Visits(count: 50)
            for threads in [4, 1, 6, 2] {
                sattn_set_thread_count(threads)
                parallel(50) { visits.visit($0) }
            }
            #expect(visits.all.allSatisfy { $0 == 4 })
        }
    }
}

@Suite struct `Kernel dispatch` {
    @Test func `knows the tables by name`() throws {
        #expect(kernelTableNames.contains("scalar"))
        for name in kernelTableNames {
            let found = try kernelTable(name).name
            #expect(try String(cString: #require(found)) == name)
        }
        #expect(sattn_kernels_named("sse9") == nil)
        #expect(sattn_kernels_named("") == nil)
    }

    @Test func `follows ATTENTION_KERNELS or says what it refused`() throws {
        let kernels = try #require(sattn_kernels_current()).pointee
        let current = try String(cString: #require(kernels.name))
        #expect(kernelTableNames.contains(current))
        guard let wish = ProcessInfo.processInfo.environment["ATTENTION_KERNELS"], wish != "" else {
            #expect(sattn_kernels_refused() == nil)
            return
        }
        if kernelTableNames.contains(wish) {
            #expect(current == wish)
            #expect(sattn_kernels_refused() == nil)
        } else {
            #expect(try String(cString: #require(sattn_kernels_refused())) == wish)
        }
    }
}
