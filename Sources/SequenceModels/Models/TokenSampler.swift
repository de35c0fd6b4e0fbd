internal import Attention

/// Picks the next token from logits.
public struct TokenSampler: Sendable {
    /// Divides the logits: below 1 the likely become likelier; 0 picks the most likely.
    public var temperature: Double
    /// How many of the most likely tokens are picked from; `nil` is all.
    public var topCount: Int?
    private var random: RandomStream

    /// Creates a sampler.
    ///
    /// - Parameters:
    ///   - temperature: Divides the logits; at least 0, where 0 picks the most likely.
    ///   - topCount: How many of the most likely tokens are picked from, at least 1; `nil` is all. Fan et al.,
    ///     "Hierarchical Neural Story Generation", 2018 (arXiv:1805.04833), section 5.4.
    ///   - seed: The same seed picks the same tokens.
    public init(temperature: Double = 1, topCount: Int? = nil, seed: UInt64 = 1) {
        require(temperature >= 0, "The temperature is \(temperature); it must be at least 0.")
        require(topCount == nil || topCount ?? 0 > 0, "\(topCount ?? 0) tokens cannot be picked from.")
        self.temperature = temperature
        self.topCount = topCount
        random = RandomStream(seed: seed)
    }

    /// Returns a token.
    ///
    /// - Parameter logits: One per token, at least one; −∞ is never picked unless all are, nor is NaN.
    /// - Returns: Its index.
    public mutating func token(from logits: [Float]) -> Int {
        let candidates = logits.indicesOfLargest(temperature == 0 ? 1 : topCount ?? logits.count)
        guard let best = candidates.first else { return 0 }
        if temperature == 0 || logits[best] == -.infinity { return best }
        let largest = Double(logits[best])
        let weights = candidates.map { Double.exp((Double(logits[$0]) - largest) / temperature) }
        var place = random.fraction() * weights.reduce(0, +)
        for (token, weight) in zip(candidates, weights) {
            place -= weight
            if place < 0 { return token }
        }
        return best
    }
}
