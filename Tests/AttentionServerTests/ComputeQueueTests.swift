import Foundation
import Synchronization
import Testing

@testable import AttentionServer

/// What pieces of work saw.
private final class Seen: Sendable {
    let running = Mutex(0)
    let threads = Mutex<Set<String>>([])
}

@Suite struct `The queue of the models' thread` {
    @Test func `does one piece of work at a time, in order, on one thread that is not the caller's`() async throws {
        let queue = ComputeQueue(limit: 100)
        let seen = Seen()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for index in 0..<50 {
                group.addTask {
                    try await queue.run {
                        seen.running.withLock {
                            $0 += 1
                            #expect($0 == 1)
                        }
                        _ = seen.threads.withLock { $0.insert(Thread.current.name ?? "") }
                        seen.running.withLock { $0 -= 1 }
                        return index
                    }
                }
            }
            var sum = 0
            for try await index in group { sum += index }
            #expect(sum == 49 * 25)
        }
        #expect(seen.threads.withLock { $0 } == ["attend-models"])
    }

    @Test func `refuses at once what has no place, and takes more once there is`() async throws {
        let queue = ComputeQueue(limit: 2)
        let gate = DispatchSemaphore(value: 0)
        let begun = DispatchSemaphore(value: 0)
        let first = Task {
            try await queue.run {
                begun.signal()
                gate.wait()
            }
        }
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                begun.wait()
                continuation.resume()
            }
        }
        let waiting = (0..<2).map { index in Task { try await queue.run { index } } }
        while queue.waitingCount < 2 { try await Task.sleep(for: .milliseconds(1)) }
        await #expect(throws: ComputeQueue.Full.self) { try await queue.run {} }
        // Who goes away leaves a place at once, though the thread is still busy.
        waiting[0].cancel()
        while queue.waitingCount == 2 { try await Task.sleep(for: .milliseconds(1)) }
        let late = Task { try await queue.run { 7 } }
        gate.signal()
        try await first.value
        await #expect(throws: CancellationError.self) { try await waiting[0].value }
        #expect(try await waiting[1].value == 1)
        #expect(try await late.value == 7)
    }

    @Test func `work can ask whether it is still wanted`() async throws {
        let queue = ComputeQueue(limit: 2)
        let task = Task {
            try await queue.run {
                while !Task.isCancelled { usleep(1000) }
                throw CancellationError()
            }
        }
        try await Task.sleep(for: .milliseconds(20))
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
    }

    @Test func `what the work throws is thrown`() async {
        struct Mistake: Error {}
        await #expect(throws: Mistake.self) { try await ComputeQueue(limit: 1).run { throw Mistake() } }
    }
}
