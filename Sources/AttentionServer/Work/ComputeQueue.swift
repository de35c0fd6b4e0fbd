internal import Foundation
internal import Synchronization

/// A thread of its own for the models, and a bounded queue in front of it.
///
/// Models compute with all threads of the pool, so one request at a time is as fast as several, and the cooperative
/// threads, which answer everybody, are never kept.
final class ComputeQueue: Sendable {
    /// The queue has no place left.
    struct Full: Error {
        let limit: Int
    }

    /// How many requests may wait.
    let limit: Int
    private let waiting = Mutex(0)
    private let worker: Worker
    /// How many requests wait now.
    var waitingCount: Int { waiting.withLock { $0 } }

    /// Starts the thread.
    ///
    /// - Parameter limit: How many requests may wait, at least 1.
    init(limit: Int) {
        self.limit = limit
        worker = Worker()
    }

    /// Does a piece of work on the thread, after those that came before, as a part of the caller's task.
    ///
    /// - Throws: ``Full`` when too many wait, `CancellationError` when the task was cancelled before its turn, or what
    ///   the work throws.
    func run<Value: Sendable>(_ work: @escaping @Sendable () throws -> Value) async throws -> Value {
        let isFull = waiting.withLock { waiting in
            if waiting >= limit { return true }
            waiting += 1
            return false
        }
        if isFull { throw Full(limit: limit) }
        let holdsPlace = Mutex(true)
        @Sendable func leave() {
            let held = holdsPlace.withLock { held in
                defer { held = false }
                return held
            }
            if held { waiting.withLock { $0 -= 1 } }
        }
        return try await withTaskCancellationHandler {
            try await worker.run {
                leave()
                return try work()
            }
        } onCancel: {
            leave()
        }
    }

    private actor Worker {
        private let thread = ModelThread()
        nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

        func run<Value: Sendable>(_ work: @Sendable () throws -> Value) throws -> Value {
            // A connection that was closed while this waited needs nothing.
            try Task.checkCancellation()
            return try work()
        }

        deinit { thread.end() }
    }
}

/// Runs an actor's jobs one after the other on one thread.
private final class ModelThread: SerialExecutor {
    /// What the thread and those who give it jobs share.
    private final class Shared: @unchecked Sendable {
        // Safe: `jobs` and `hasEnded` are read and written only between `lock` and `unlock` of `condition`.
        let condition = NSCondition()
        var jobs: [UnownedJob] = []
        var hasEnded = false
    }

    private let shared = Shared()

    init() {
        let shared = shared
        let executor = asUnownedSerialExecutor()
        let thread = Thread {
            // Here, since on Linux a thread begins with its maker's name; 15 bytes at most.
            Thread.current.name = "attend-models"
            while let job = Self.next(shared) { job.runSynchronously(on: executor) }
        }
        thread.stackSize = 16 << 20
        thread.start()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        shared.condition.lock()
        shared.jobs.append(job)
        shared.condition.signal()
        shared.condition.unlock()
    }

    /// Ends the thread once nothing is left to do.
    func end() {
        shared.condition.lock()
        shared.hasEnded = true
        shared.condition.signal()
        shared.condition.unlock()
    }

    private static func next(_ shared: Shared) -> UnownedJob? {
        shared.condition.lock()
        defer { shared.condition.unlock() }
        while shared.jobs.isEmpty && !shared.hasEnded { shared.condition.wait() }
        return shared.jobs.isEmpty ? nil : shared.jobs.removeFirst()
    }
}
