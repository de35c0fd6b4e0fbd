public import Attention

/// Work to time, on operands that are the same in every run: what `attend bench` and the package `Benchmarks` run.
///
/// A name says everything about the work, and `Benchmarks/peers.py` times others at the same work under the same name.
public struct Workload: Sendable {
    /// What of the processor a run is held against.
    public enum Bound: Sendable, Hashable {
        /// Multiply-adds of float32, as two operations each.
        case float32
        /// Products of bfloat16 added in float32.
        case bfloat16
        /// Products of bytes added in int32.
        case int8
        /// Bytes that have to be read.
        case memory

        /// How much of it there is in a second.
        ///
        /// - Parameter peak: What the processor can do.
        /// - Returns: Operations, or bytes, per second; float32's where the processor lacks the narrower ones.
        public func limit(_ peak: ProcessorPeak) -> Double {
            switch self {
            case .float32: peak.float32
            case .bfloat16: peak.bfloat16 > 0 ? peak.bfloat16 : peak.float32
            case .int8: peak.int8 > 0 ? peak.int8 : peak.float32
            case .memory: peak.memoryBandwidth
            }
        }
    }

    /// The name, such as `attention float32 b1 h12 g12 q512 k512 d64 causal`.
    public let name: String
    /// What a run is held against.
    public let bound: Bound
    /// The operations of a run, or the bytes that it has to read where ``bound`` is the memory.
    public let amount: Double
    /// The tokens that a run reads or writes, where it is about tokens.
    public let tokenCount: Int?
    /// Makes the operands and checks a first result.
    private let prepare: @Sendable () throws -> () -> Void

    /// Describes work.
    ///
    /// - Parameters:
    ///   - name: What it is.
    ///   - bound: What it is held against.
    ///   - amount: Operations, or bytes.
    ///   - tokenCount: The tokens of a run, if it is about tokens.
    ///   - prepare: Makes the operands, checks a first result, and returns what is to be timed.
    init(
        _ name: String, bound: Bound, amount: Double, tokenCount: Int? = nil,
        prepare: @escaping @Sendable () throws -> () -> Void
    ) {
        self.name = name
        self.bound = bound
        self.amount = amount
        self.tokenCount = tokenCount
        self.prepare = prepare
    }

    /// Makes the operands and checks a first result.
    ///
    /// - Returns: The work itself, to be timed.
    /// - Throws: ``WorkloadError`` when the result is wrong, or what the work needs cannot be had.
    public func prepared() throws -> () -> Void { try prepare() }

    /// Runs the work, and returns how long it took.
    ///
    /// - Parameter duration: For how long to run it, after two runs that do not count; five runs at least.
    /// - Returns: The median, in seconds.
    /// - Throws: ``WorkloadError`` as ``prepared()`` does.
    public func seconds(running duration: Duration) throws -> Double {
        let run = try prepared()
        run()
        run()
        let clock = ContinuousClock()
        let start = clock.now
        var times: [Duration] = []
        while times.count < 5 || clock.now - start < duration { times.append(clock.measure(run)) }
        return times.sorted()[times.count / 2] / .seconds(1)
    }
}

/// Why work is not timed.
public enum WorkloadError: Error, CustomStringConvertible {
    /// The first result is wrong.
    case wrongResult(work: String, error: Double, tolerance: Double)
    /// What it needs cannot be had.
    case unavailable(work: String, reason: String)

    /// What is wrong, and with what.
    public var description: String {
        switch self {
        case .wrongResult(let work, let error, let tolerance):
            "'\(work)' computes a wrong result, off by \(error) where \(tolerance) is allowed: it is not timed. "
                + "Please report this with the processor's name."
        case .unavailable(let work, let reason): "'\(work)' cannot be timed: \(reason)"
        }
    }
}

extension Workload {
    /// Stops unless two results are alike.
    static func check(_ work: String, _ found: [Double], _ expected: [Double], tolerance: Double) throws {
        let error =
            found.count == expected.count
            ? zip(found, expected).map { abs($0 - $1) }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) } : .infinity
        guard error <= tolerance else {
            throw WorkloadError.wrongResult(work: work, error: error, tolerance: tolerance)
        }
    }
}
