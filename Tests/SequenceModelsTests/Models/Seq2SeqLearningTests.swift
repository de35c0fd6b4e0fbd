import Attention
import SequenceModels
import TestSupport
import Testing

@Suite struct `Encoder–decoder in training` {
    struct Variant: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let attention: AlignmentConfiguration
    }

    /// 0 ends a sequence, and begins what is written.
    private static let symbolCount = 5

    private static func sequences(_ count: Int, using generator: inout SeededGenerator) -> [[Int]] {
        (0..<count).map { _ in
            (0..<Int.random(in: 2...5, using: &generator)).map { _ in Int.random(in: 1...symbolCount, using: &generator)
            }
        }
    }

    private static func batch(_ sources: [[Int]]) -> TrainingBatch {
        let inputs = TokenBatch(sources.map { [0] + $0.reversed() })
        let targets = sources.map { source in
            source.reversed() + [0] + [Int](repeating: -1, count: inputs.length - source.count - 1)
        }
        return TrainingBatch(source: TokenBatch(sources), inputs: inputs, targets: targets)
    }

    // Without attention, the same training ends with 10 of the 50 right: one vector says too little of the source.
    @Test(arguments: [
        Variant(testDescription: "Bahdanau", attention: .bahdanau),
        Variant(testDescription: "Luong", attention: .luong(.general)),
    ])
    func `learns to turn sequences around, and looks where it has to`(variant: Variant) {
        var random = RandomStream(seed: 1)
        var model = Seq2Seq(
            Seq2SeqConfiguration(
                vocabularySize: Self.symbolCount + 1, embeddingDimension: 8, hiddenDimension: 24,
                encoderDirection: .bidirectional, attention: variant.attention), random: &random)
        var generator = SeededGenerator(seed: 2)
        var optimizer = Optimizer(.adam())
        var none: RandomStream?
        for _ in 0..<200 {
            let gradients = model.lossAndGradients(
                on: Self.batch(Self.sequences(16, using: &generator)), dropout: &none
            ).gradients
            optimizer.step(&model, gradients: gradients, learningRate: 0.01)
        }
        let sources = Self.sequences(50, using: &generator)
        let (written, alignments) = Self.write(sources, model)
        let rightCount = zip(sources, written).count { $0 == $1.reversed() }
        #expect(rightCount >= 45, "Only \(rightCount) of 50 sequences were turned around.")
        var (nearCount, count) = (0, 0)
        for (source, rows) in zip(sources, alignments) {
            for (t, row) in rows.prefix(source.count).enumerated() {
                let heaviest = row.indices.max { row[$0] < row[$1] } ?? 0
                count += 1
                // A state of the encoder knows its neighbours as well.
                if abs(heaviest - (source.count - 1 - t)) <= 1 { nearCount += 1 }
            }
        }
        #expect(Double(nearCount) > 0.9 * Double(count), "\(nearCount) of \(count) looks went the right way.")
    }

    /// Returns what the model writes, and how it looked at the source for each token.
    private static func write(
        _ sources: [[Int]], _ model: Seq2Seq
    ) -> (sequences: [[Int]], alignments: [[[Double]]]) {
        let source = TokenBatch(sources)
        var state = model.initialState(
            batchCount: source.count,
            source: EmbeddedBatch(model.embedSource(source.tokens), lengths: source.lengths))
        var tokens = [Int](repeating: 0, count: source.count)
        var written = [[Int]](repeating: [], count: source.count)
        var alignments = [[[Double]]](repeating: [], count: source.count)
        var isOpen = [Bool](repeating: true, count: source.count)
        for _ in 0...source.length {
            let logits = model.step(tokens, state: &state)
            for row in sources.indices where isOpen[row] {
                tokens[row] = (0...symbolCount).max { logits[row, $0] < logits[row, $1] } ?? 0
                alignments[row].append((0..<source.length).map { state.alignment?[row, $0] ?? .nan })
                isOpen[row] = tokens[row] != 0
                if isOpen[row] { written[row].append(tokens[row]) }
            }
        }
        return (written, alignments)
    }
}
