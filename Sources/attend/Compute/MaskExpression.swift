import Attention

/// Reads masks such as `causal & window:128,0 | prefix:4`; `&` binds more tightly than `|`.
struct MaskExpression {
    static let help = """
        none, causal[:OFFSET], window:LEFT,RIGHT[,OFFSET] (* is open), prefix:N, lengths:N,…, \
        documents:ID,… (one per position), file (the tensor 'mask'); joined by & and |.
        """

    /// Returns the mask that a text describes.
    ///
    /// - Parameters:
    ///   - text: As in ``help``.
    ///   - batchCount: Sequences, which all have the same documents.
    ///   - booleans: The file's tensor `mask`.
    /// - Returns: What the operator takes.
    /// - Throws: `CommandFailure` that names the term at fault.
    static func mask(_ text: String, batchCount: Int, booleans: Tensor?) throws -> AttentionMask {
        let alternatives = try text.split(separator: "|", omittingEmptySubsequences: false).map { alternative in
            try alternative.split(separator: "&", omittingEmptySubsequences: false)
                .map { try term(String($0), batchCount, booleans) }
                .reduce(AttentionMask.none) { $0 & $1 }
        }
        guard let first = alternatives.first else { return .none }
        return alternatives.dropFirst().reduce(first) { $0 | $1 }
    }

    private static func term(_ text: String, _ batchCount: Int, _ booleans: Tensor?) throws -> AttentionMask {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map {
            $0.filter { $0 != " " }
        }
        let name = parts.first ?? ""
        let arguments = parts.count > 1 ? parts[1].split(separator: ",", omittingEmptySubsequences: false) : []
        func wrong() -> CommandFailure {
            .usage("The mask '\(text.filter { $0 != " " })' is not one of: \(help)")
        }
        // Far more than any position, and far from where sums of positions would overflow.
        func number(_ text: Substring) throws -> Int {
            guard let number = Int(text), number.magnitude <= 1 << 40 else { throw wrong() }
            return number
        }
        func reach(_ text: Substring) throws -> Int? {
            if text == "*" { return nil }
            let number = try number(text)
            guard number >= 0 else { throw wrong() }
            return number
        }
        switch (name, arguments.count) {
        case ("none", 0): return .none
        case ("causal", 0): return .causal(offset: 0)
        case ("causal", 1): return .causal(offset: try number(arguments[0]))
        case ("window", 2), ("window", 3):
            return .slidingWindow(
                left: try reach(arguments[0]), right: try reach(arguments[1]),
                offset: arguments.count == 3 ? try number(arguments[2]) : 0)
        case ("prefix", 1): return .prefix(try number(arguments[0]))
        case ("lengths", 1...): return .lengths(try arguments.map(number))
        case ("documents", 1...):
            let documents = try arguments.map(number)
            return .documents([[Int]](repeating: documents, count: batchCount))
        case ("file", 0):
            guard let booleans else { throw CommandFailure.usage("--mask file needs the tensor 'mask' in the file.") }
            guard booleans.elementType == .bool, booleans.rank <= 4 else {
                throw CommandFailure.failure(
                    "'mask' has type \(booleans.elementType) and shape \(booleans.shape); it must hold booleans in at "
                        + "most 4 dimensions, true where a query may see a key.")
            }
            return .boolean(booleans)
        default: throw wrong()
        }
    }
}
