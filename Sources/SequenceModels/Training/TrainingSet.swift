internal import Attention

/// A source and what it is to become, as tokens.
public struct TokenPair: Sendable, Hashable {
    /// What is read.
    public let source: [Int]
    /// What is to be written.
    public let target: [Int]

    /// Creates a pair.
    ///
    /// - Parameters:
    ///   - source: What is read.
    ///   - target: What is to be written.
    public init(source: [Int], target: [Int]) {
        self.source = source
        self.target = target
    }
}

/// Tokens to learn from: one long text, or pairs.
public enum TrainingExamples: Sendable, Hashable {
    /// One token after the other.
    case text([Int])
    /// Sources and their targets.
    case pairs([TokenPair])

    /// How many tokens there are.
    public var tokenCount: Int {
        switch self {
        case .text(let tokens): tokens.count
        case .pairs(let pairs): pairs.reduce(0) { $0 + $1.source.count + $1.target.count }
        }
    }

    /// Returns examples to learn from and examples kept back, which are never learned from.
    ///
    /// Of a text its end is kept back; of pairs, those that the seed picks.
    ///
    /// - Parameters:
    ///   - share: How much to keep back, from 0 to 1.
    ///   - seed: Picks among pairs.
    /// - Returns: Both parts.
    public func split(heldOut share: Double, seed: UInt64) -> (training: TrainingExamples, heldOut: TrainingExamples) {
        switch self {
        case .text(let tokens):
            let count = tokens.count - Int(Double(tokens.count) * share)
            return (.text(Array(tokens[..<count])), .text(Array(tokens[count...])))
        case .pairs(let pairs):
            // Other numbers than those that pick batches.
            let stream = RandomStream(seed: ~seed)
            var (training, heldOut): ([TokenPair], [TokenPair]) = ([], [])
            for (index, pair) in pairs.enumerated() {
                var own = stream.stream(for: UInt64(index))
                if own.fraction() < share { heldOut.append(pair) } else { training.append(pair) }
            }
            return (.pairs(training), .pairs(heldOut))
        }
    }
}

/// How examples become batches, each a function of its number alone: a run can go on from anywhere.
public struct BatchSampler: Sendable {
    /// What to take batches from.
    public let examples: TrainingExamples
    /// Sequences in a batch.
    public let batchSize: Int
    /// Tokens in a window of text: how many the model reads.
    public let length: Int
    /// Whether the model reads a source before it writes.
    public let hasEncoder: Bool
    /// The token that ends a text, which separates and ends the parts of a pair.
    public let endToken: Int
    private let stream: RandomStream

    /// Creates a sampler.
    ///
    /// - Parameters:
    ///   - examples: What to take batches from: text of at least ``minimumTokenCount(length:hasEncoder:)`` tokens, or at
    ///     least one pair.
    ///   - batchSize: Sequences in a batch; at least 1.
    ///   - length: Tokens in a window of text; at least 1.
    ///   - hasEncoder: Whether the model reads a source before it writes.
    ///   - endToken: The token that ends a text.
    ///   - seed: Which batches.
    public init(
        _ examples: TrainingExamples, batchSize: Int, length: Int, hasEncoder: Bool, endToken: Int, seed: UInt64
    ) {
        require(batchSize > 0 && length > 0, "Batches of \(batchSize) sequences of \(length) tokens are none.")
        switch examples {
        case .text(let tokens):
            let needed = Self.minimumTokenCount(length: length, hasEncoder: hasEncoder)
            require(tokens.count >= needed, "\(tokens.count) tokens are less than one window of \(needed).")
        case .pairs(let pairs): require(!pairs.isEmpty, "There are no pairs to sample.")
        }
        self.examples = examples
        self.batchSize = batchSize
        self.length = length
        self.hasEncoder = hasEncoder
        self.endToken = endToken
        stream = RandomStream(seed: seed)
    }

    /// Returns how many tokens of text one window takes.
    ///
    /// - Parameters:
    ///   - length: How many the model reads.
    ///   - hasEncoder: Whether it reads a source of that length first.
    /// - Returns: The window, with the last token to predict.
    public static func minimumTokenCount(length: Int, hasEncoder: Bool) -> Int {
        hasEncoder ? 2 * length : length + 1
    }

    /// How many tokens of a pair the model reads.
    ///
    /// - Parameters:
    ///   - pair: A pair.
    ///   - hasEncoder: Whether the source goes to an encoder of its own.
    /// - Returns: The longer of the two with its end, or both one after the other.
    public static func length(of pair: TokenPair, hasEncoder: Bool) -> Int {
        hasEncoder
            ? max(pair.source.count, pair.target.count + 1) : pair.source.count + pair.target.count + 1
    }

    /// Returns a batch picked at random, with replacement.
    ///
    /// - Parameter number: Which batch; from 0.
    /// - Returns: The same batch for the same number.
    public func batch(_ number: Int) -> TrainingBatch {
        let picks = picks(number)
        switch examples {
        case .text: return windows(picks)
        case .pairs(let pairs): return batch(of: picks.map { pairs[$0] })
        }
    }

    /// Returns how many tokens a batch asks for, without making it.
    ///
    /// - Parameter number: Which batch; from 0.
    /// - Returns: The ``TrainingBatch/targetCount`` of ``batch(_:)``.
    public func targetCount(_ number: Int) -> Int {
        switch examples {
        case .text: batchSize * length
        case .pairs(let pairs): picks(number).reduce(0) { $0 + pairs[$1].target.count + 1 }
        }
    }

    /// Where the windows of a batch begin, or which pairs it has.
    private func picks(_ number: Int) -> [Int] {
        let last =
            switch examples {
            case .text(let tokens):
                tokens.count - Self.minimumTokenCount(length: length, hasEncoder: hasEncoder)
            case .pairs(let pairs): pairs.count - 1
            }
        var own = stream.stream(for: UInt64(number))
        return (0..<batchSize).map { _ in Int.random(in: 0...last, using: &own) }
    }

    /// Returns batches that go through the examples once from the start, for a loss to compare runs by.
    ///
    /// - Parameter maximumCount: How many batches at most; windows of a text are then spread evenly over it.
    /// - Returns: The same batches each time.
    public func evaluationBatches(maximumCount: Int) -> [TrainingBatch] {
        switch examples {
        case .text(let tokens):
            let last = tokens.count - Self.minimumTokenCount(length: length, hasEncoder: hasEncoder)
            let whole = last / length + 1
            let count = min(whole, maximumCount * batchSize)
            let starts = (0..<count).map { $0 * whole / count * length }
            return stride(from: 0, to: count, by: batchSize).map {
                windows(Array(starts[$0..<min($0 + batchSize, count)]))
            }
        case .pairs(let pairs):
            let used = pairs.prefix(maximumCount * batchSize)
            return stride(from: 0, to: used.count, by: batchSize).map {
                batch(of: Array(used[$0..<min($0 + batchSize, used.count)]))
            }
        }
    }

    private func windows(_ starts: [Int]) -> TrainingBatch {
        guard case .text(let tokens) = examples else { stop("Pairs have no windows.") }
        // An encoder reads one window, and the decoder writes the next.
        let skipped = hasEncoder ? length - 1 : 0
        return TrainingBatch(
            source: hasEncoder ? TokenBatch(starts.map { Array(tokens[$0..<$0 + length]) }) : nil,
            inputs: TokenBatch(starts.map { Array(tokens[$0 + skipped..<$0 + skipped + length]) }),
            targets: starts.map { Array(tokens[$0 + skipped + 1..<$0 + skipped + 1 + length]) })
    }

    private func batch(of pairs: [TokenPair]) -> TrainingBatch {
        let inputs: [[Int]]
        var targets: [[Int]]
        if hasEncoder {
            inputs = pairs.map { [endToken] + $0.target }
            targets = pairs.map { $0.target + [endToken] }
        } else {
            // What is given is not to be predicted.
            inputs = pairs.map { $0.source + [endToken] + $0.target }
            targets = pairs.map { [Int](repeating: -1, count: $0.source.count) + $0.target + [endToken] }
        }
        let batch = TokenBatch(inputs)
        targets = targets.map { $0 + [Int](repeating: -1, count: batch.length - $0.count) }
        return TrainingBatch(
            source: hasEncoder ? TokenBatch(pairs.map(\.source)) : nil, inputs: batch, targets: targets)
    }
}
