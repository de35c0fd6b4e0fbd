/// What is added to the scores before the softmax.
///
/// Biases combine with `+`.
/// A bias of −∞ masks: that key is then never read numerically, as with a mask.
public struct ScoreBias: Sendable {
    /// The rules whose values are added.
    public let rules: [any BiasRule]

    /// Creates a bias from a rule of one's own.
    ///
    /// - Parameter rule: Gives the number to add to each score.
    public init(_ rule: any BiasRule) {
        rules = [rule]
    }

    private init(rules: [any BiasRule]) {
        self.rules = rules
    }

    /// Nothing is added.
    public static let none = ScoreBias(rules: [])

    /// Returns the sum of two biases.
    ///
    /// - Parameters:
    ///   - left: A bias.
    ///   - right: Another.
    /// - Returns: Their sum.
    public static func + (left: ScoreBias, right: ScoreBias) -> ScoreBias {
        ScoreBias(rules: left.rules + right.rules)
    }

    /// For each rule, the tensor that it was made from, if any.
    var sources: [Tensor?] {
        rules.map { rule in
            switch rule {
            case let rule as TensorBias: rule.source
            case let rule as ALiBi: rule.source
            default: nil
            }
        }
    }

    /// The same numbers without a past.
    var detached: ScoreBias {
        ScoreBias(
            rules: rules.map { rule in
                switch rule {
                case let rule as TensorBias: TensorBias(rule.source.detached)
                case let rule as ALiBi: ALiBi(rule.slopes, offsets: rule.offsets)
                default: rule
                }
            })
    }

    /// Returns what is added to one score.
    package func value(batch: Int, head: Int, query: Int, key: Int) -> Double {
        rules.reduce(0) { $0 + $1.value(batch: batch, head: head, query: query, key: key) }
    }
}

/// Gives the number to add to each score.
///
/// A bias of one's own needs only ``value(batch:head:query:key:)``.
public protocol BiasRule: Sendable {
    /// Returns what is added to one score.
    ///
    /// - Parameters:
    ///   - batch: The sequence's index in the batch.
    ///   - head: The query head.
    ///   - query: The query's index.
    ///   - key: The key's index.
    /// - Returns: Any number; −∞ masks the key.
    func value(batch: Int, head: Int, query: Int, key: Int) -> Double

    /// Returns why the bias does not fit a shape, with both values, or `nil` if it does. The default accepts all.
    ///
    /// - Parameter shape: What the operator is called with.
    /// - Returns: A sentence, or `nil`.
    func problem(for shape: AttentionShape) -> String?
}

extension BiasRule {
    /// Accepts every shape.
    ///
    /// - Parameter shape: What the operator is called with.
    /// - Returns: `nil`.
    public func problem(for shape: AttentionShape) -> String? { nil }
}
