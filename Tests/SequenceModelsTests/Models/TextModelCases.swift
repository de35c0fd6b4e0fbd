import Attention
import SequenceModels
import TestSupport
import Testing

/// A model of text, small, with all parameters random.
struct TextModelCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let configuration: TextModelConfiguration

    init(
        _ architecture: TextModelConfiguration.Architecture, attention: TextModelConfiguration.EncoderAttention? = nil,
        similarity: SimilarityKind? = nil
    ) {
        testDescription = ([architecture.rawValue, attention?.rawValue, similarity?.rawValue].compactMap { $0 })
            .joined(separator: ", ")
        configuration = TextModelConfiguration(
            architecture, vocabularySize: 11, width: 6, layerCount: 2, contextLength: 13,
            headCount: architecture == .transformer ? 2 : nil, attention: attention, similarity: similarity)
    }

    /// Every architecture, and every way in which a decoder attends to its source.
    static let architectures =
        TextModelConfiguration.Architecture.allCases.filter { $0 != .seq2seq }.map { TextModelCase($0) }
        + TextModelConfiguration.EncoderAttention.allCases.map { TextModelCase(.seq2seq, attention: $0) }

    /// Every measure that can be chosen, where it can be chosen.
    static let similarities = SimilarityKind.allCases.flatMap { kind in
        [
            TextModelCase(.transformer, similarity: kind),
            TextModelCase(.seq2seq, attention: .luong, similarity: kind),
            TextModelCase(.seq2seq, attention: .local, similarity: kind),
        ]
    }

    var model: any SequenceModel {
        var random = RandomStream(seed: 3)
        let model = configuration.model(random: &random)
        func randomised(_ model: some SequenceModel) -> any SequenceModel {
            model.replacingParameters(with: model.parameters.map { random.uniform($0.value.shape, bound: 0.6) })
        }
        return randomised(model)
    }

    /// Sequences of such lengths, with sources of others where the model reads sources.
    func batch(lengths: [Int], seed: UInt64 = 5) -> TrainingBatch {
        var generator = SeededGenerator(seed: seed)
        func tokens(_ count: Int) -> [Int] { (0..<count).map { _ in Int.random(in: 0..<11, using: &generator) } }
        let inputs = TokenBatch(lengths.map(tokens))
        let targets = lengths.map { tokens($0) + [Int](repeating: -1, count: inputs.length - $0) }
        let sources = lengths.indices.map { tokens([5, 2, 7][$0 % 3]) }
        return TrainingBatch(
            source: configuration.architecture == .seq2seq ? TokenBatch(sources) : nil, inputs: inputs,
            targets: targets)
    }
}

extension TrainingBatch {
    /// One sequence alone, without padding.
    func row(_ index: Int) -> TrainingBatch {
        TrainingBatch(
            source: source.map { TokenBatch([Array($0.tokens[index].prefix($0.lengths[index]))]) },
            inputs: TokenBatch([Array(inputs.tokens[index].prefix(inputs.lengths[index]))]),
            targets: [Array(targets[index].prefix(inputs.lengths[index]))])
    }
}

/// The cross-entropy of targets, from logits, in `Double`.
func plainCrossEntropy(_ logits: [Double], _ targets: [Int], vocabularySize: Int) -> Double {
    var (sum, count) = (0.0, 0)
    for (position, target) in targets.enumerated() where target >= 0 {
        let row = logits[position * vocabularySize..<(position + 1) * vocabularySize]
        let largest = row.max() ?? 0
        let total = row.reduce(0) { $0 + Double.exp($1 - largest) }
        sum += largest + Double.log(total) - row[row.startIndex + target]
        count += 1
    }
    return sum / Double(count)
}
