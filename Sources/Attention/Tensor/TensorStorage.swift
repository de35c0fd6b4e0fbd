import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Memory that tensors share: taken from the pool and given back to it, or kept alive by another owner.
final class TensorStorage: @unchecked Sendable {
    // Safe: written only while one tensor holds it (`Tensor.makeUnique`), or before it is shared.
    let base: UnsafeMutableRawPointer
    let byteCount: Int
    /// Whoever owns memory that is not the pool's, such as a mapped file; never written.
    private let owner: (any AnyObject & Sendable)?

    var isWritable: Bool { owner == nil }

    init(byteCount: Int) {
        self.byteCount = byteCount
        self.owner = nil
        base = BufferPool.shared.take(byteCount: byteCount)
    }

    init(sharing bytes: UnsafeRawBufferPointer, owner: any AnyObject & Sendable) {
        byteCount = bytes.count
        self.owner = owner
        base = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? TensorStorage.nowhere)
    }

    deinit {
        if owner == nil {
            BufferPool.shared.giveBack(base, byteCount: byteCount)
        }
    }

    /// An address for tensors without elements; nothing is read or written there.
    nonisolated(unsafe) private static let nowhere = UnsafeRawPointer(
        UnsafeMutableRawPointer.allocate(byteCount: BufferPool.alignment, alignment: BufferPool.alignment))
}

/// Buffers aligned to a cache line, kept for reuse when a tensor lets go of them.
///
/// Taking fresh pages from the system costs about as much as filling them; a forward pass asks for the same
/// sizes again and again, and so does a step of training, which takes nothing new from the second or third on.
package final class BufferPool: Sendable {
    /// The one pool.
    package static let shared = BufferPool()
    /// A cache line, and the widest vector.
    static let alignment = 64
    /// More than this is not kept, an eighth of the machine's memory: a long text must not hold it for ever.
    private static let keptByteLimit = max(256 << 20, physicalByteCount / 8)

    /// What was asked for since the process began.
    package struct Counts: Sendable, Hashable {
        /// How many buffers were taken from the system, since none of their size was kept.
        package var newCount = 0
        /// Their bytes.
        package var newByteCount = 0
        /// How many buffers were given out again.
        package var reusedCount = 0
        /// Their bytes.
        package var reusedByteCount = 0
    }

    private struct State {
        var free: [Int: [UInt]] = [:]
        var keptByteCount = 0
        var counts = Counts()
        /// What is given out now, and the most that was at a time.
        var heldByteCount = 0
        var peakByteCount = 0
    }

    private let state = Mutex(State())

    /// What was asked for since the process began.
    package var counts: Counts { state.withLock { $0.counts } }

    /// Runs `body` and returns how many bytes more than before it were given out at its peak, to whomever.
    package func peakByteCount(of body: () -> Void) -> Int {
        let before = state.withLock { state in
            state.peakByteCount = state.heldByteCount
            return state.heldByteCount
        }
        body()
        return state.withLock { $0.peakByteCount } - before
    }

    func take(byteCount: Int) -> UnsafeMutableRawPointer {
        let size = sizeClass(byteCount)
        let kept = state.withLock { state -> UInt? in
            state.heldByteCount += size
            state.peakByteCount = max(state.peakByteCount, state.heldByteCount)
            guard let address = state.free[size]?.popLast() else {
                state.counts.newCount += 1
                state.counts.newByteCount += size
                return nil
            }
            state.keptByteCount -= size
            state.counts.reusedCount += 1
            state.counts.reusedByteCount += size
            return address
        }
        if let kept, let pointer = UnsafeMutableRawPointer(bitPattern: kept) {
            return pointer
        }
        return .allocate(byteCount: size, alignment: BufferPool.alignment)
    }

    func giveBack(_ pointer: UnsafeMutableRawPointer, byteCount: Int) {
        let size = sizeClass(byteCount)
        guard size <= BufferPool.keptByteLimit else {
            state.withLock { $0.heldByteCount -= size }
            pointer.deallocate()
            return
        }
        // What is asked for now is likelier to be asked for again than what the pool was filled with long ago.
        let released = state.withLock { state -> [UInt] in
            state.heldByteCount -= size
            var released: [UInt] = []
            while state.keptByteCount + size > BufferPool.keptByteLimit {
                let kept = state.free.filter { !$0.value.isEmpty }
                guard let other = (kept.keys.first { $0 != size } ?? kept.keys.first),
                    let address = state.free[other]?.popLast()
                else { break }
                state.keptByteCount -= other
                released.append(address)
            }
            state.free[size, default: []].append(UInt(bitPattern: pointer))
            state.keptByteCount += size
            return released
        }
        for address in released { UnsafeMutableRawPointer(bitPattern: address)?.deallocate() }
    }

    /// The memory of the machine.
    private static var physicalByteCount: Int {
        max(0, Int(sysconf(Int32(_SC_PHYS_PAGES)))) * max(0, Int(sysconf(Int32(_SC_PAGESIZE))))
    }

    /// Rounds up to one of eight sizes per power of two, so that nearly equal sizes share buffers at the
    /// price of an eighth of the memory.
    private func sizeClass(_ byteCount: Int) -> Int {
        let wanted = max(byteCount, BufferPool.alignment)
        let step = max(BufferPool.alignment, 1 << max(0, (Int.bitWidth - 1 - wanted.leadingZeroBitCount) - 3))
        return (wanted + step - 1) / step * step
    }
}
