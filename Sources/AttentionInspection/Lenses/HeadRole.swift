internal import Attention
internal import SequenceModels

/// What a head does on a sentence, as far as a simple measure tells.
public enum HeadRole: String, Sendable, CaseIterable, Encodable {
    /// It looks at the token before.
    case previous
    /// It looks at the token after; a causal model cannot.
    case next
    /// It looks at the first token: a sink.
    case first
    /// It looks at the token itself.
    case itself = "self"
    /// It looks at earlier occurrences of the same token.
    case duplicate
    /// It looks at what came after earlier occurrences of the same token.
    case induction
    /// It looks at everything alike.
    case broad

    /// From which score on a head has the role.
    ///
    /// Half of the attention for positions (Clark et al., "What Does BERT Look At?", 2019, arXiv:1906.04341, section
    /// 3.1) and, here alike, for occurrences (Olsson et al., "In-context Learning and Induction Heads", 2022,
    /// arXiv:2209.11895, have the score and no threshold); 0.3 for the first token (Gu et al., 2024, arXiv:2410.10781);
    /// 0.8 of the largest possible entropy, which is this project's choice.
    public var threshold: Double {
        switch self {
        case .previous, .next, .itself, .duplicate, .induction: 0.5
        case .first: 0.3
        case .broad: 0.8
        }
    }

    /// What is measured, in words.
    public var metric: String {
        switch self {
        case .previous: "mean weight on the token before"
        case .next: "mean weight on the token after"
        case .first: "mean weight on the first token"
        case .itself: "mean weight on the token itself"
        case .duplicate: "mean weight on earlier occurrences of the same token"
        case .induction: "mean weight on what followed earlier occurrences of the same token"
        case .broad: "mean entropy of the weights, as a share of the largest possible"
        }
    }

    /// What stands for it where room is short.
    var letter: String { self == .itself ? "S" : String(rawValue.prefix(1)).uppercased() }
}

/// What one head does on a sentence.
public struct HeadBadge: Sendable, Encodable {
    /// The layer, from 0.
    public let layer: Int
    /// The head, from 0.
    public let head: Int
    /// The role whose threshold is exceeded the most; `nil` where none is reached.
    public let role: HeadRole?
    /// The score of each role that the sentence can show, by its name.
    public let scores: [String: Double]

    /// The score of ``role``.
    public var score: Double? { role.flatMap { scores[$0.rawValue] } }

    /// Scores a head by its weights between tokens, `[from · to]`.
    ///
    /// The first token's row counts for nothing: it has nowhere else to look.
    init(layer: Int, head: Int, weights: [Float], ids: [Int32], isCausal: Bool) {
        let count = ids.count
        var sums: [HeadRole: (sum: Double, count: Int)] = [:]
        func add(_ role: HeadRole, _ score: Double) {
            let old = sums[role] ?? (0, 0)
            sums[role] = (old.sum + score, old.count + 1)
        }
        var occurrences: [Int32: [Int]] = [:]
        for query in 0..<count {
            defer { occurrences[ids[query], default: []].append(query) }
            if query == 0 { continue }
            let row = weights[query * count..<(query + 1) * count]
            func weight(_ key: Int) -> Double { Double(row[row.startIndex + key]) }
            add(.previous, weight(query - 1))
            if !isCausal && query + 1 < count { add(.next, weight(query + 1)) }
            add(.first, weight(0))
            add(.itself, weight(query))
            if let earlier = occurrences[ids[query]] {
                add(.duplicate, earlier.reduce(0) { $0 + weight($1) })
                let followers = earlier.filter { $0 + 1 < query }
                if !followers.isEmpty { add(.induction, followers.reduce(0) { $0 + weight($1 + 1) }) }
            }
            let entropy = row.reduce(0.0) { $1 > 0 ? $0 - Double($1) * .log(Double($1)) : $0 }
            add(.broad, entropy / .log(Double(isCausal ? query + 1 : count)))
        }
        self.layer = layer
        self.head = head
        let means = sums.mapValues { $0.sum / Double($0.count) }
        scores = Dictionary(uniqueKeysWithValues: means.map { ($0.key.rawValue, $0.value) })
        role = HeadRole.allCases.filter { (means[$0] ?? 0) >= $0.threshold }
            .max { (means[$0] ?? 0) / $0.threshold < (means[$1] ?? 0) / $1.threshold }
    }

    /// What the badge says, with metric and threshold.
    var description: String {
        guard let role, let score else { return "no role reaches its threshold" }
        return "\(role.rawValue): \(role.metric) is \(Numbers.cell(score)), at least \(role.threshold)"
    }
}
