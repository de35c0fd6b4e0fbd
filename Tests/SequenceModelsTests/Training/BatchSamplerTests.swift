import SequenceModels
import TestSupport
import Testing

@Suite struct `Batch sampler` {
    private static let end = 99
    private static let pairs = [
        TokenPair(source: [1, 2, 3], target: [4]), TokenPair(source: [5], target: [6, 7]),
        TokenPair(source: [8, 9], target: [10, 11, 12, 13]),
    ]

    /// The tokens are their own places.
    private static func text(
        _ count: Int, batchSize: Int = 4, length: Int = 5, hasEncoder: Bool = false, seed: UInt64 = 1
    ) -> BatchSampler {
        BatchSampler(
            .text(Array(0..<count)), batchSize: batchSize, length: length, hasEncoder: hasEncoder, endToken: end,
            seed: seed)
    }

    private static func pairs(hasEncoder: Bool, seed: UInt64 = 1) -> BatchSampler {
        BatchSampler(
            .pairs(pairs), batchSize: 4, length: 100, hasEncoder: hasEncoder, endToken: end, seed: seed)
    }

    @Test func `what a batch asks for is counted without making it`() {
        for sampler in [
            Self.text(50), Self.text(50, hasEncoder: true), Self.pairs(hasEncoder: true), Self.pairs(hasEncoder: false),
        ] {
            for number in 0..<20 { #expect(sampler.targetCount(number) == sampler.batch(number).targetCount) }
        }
    }

    @Test func `a batch is a function of its number`() {
        for (one, other, differently) in [
            (Self.text(50), Self.text(50), Self.text(50, seed: 2)),
            (
                Self.pairs(hasEncoder: true), Self.pairs(hasEncoder: true),
                Self.pairs(hasEncoder: true, seed: 2)
            ),
        ] {
            let forwards = (0..<20).map(one.batch)
            let backwards = (0..<20).reversed().map(other.batch)
            #expect(forwards == backwards.reversed())
            #expect(Set(forwards).count > 15)
            #expect(forwards != (0..<20).map(differently.batch))
        }
    }

    @Test func `what follows a window is to be predicted`() {
        let sampler = Self.text(23)
        var starts: Set<Int> = []
        for number in 0..<100 {
            let batch = sampler.batch(number)
            #expect(batch.source == nil && batch.inputs.count == 4 && batch.inputs.lengths == [5, 5, 5, 5])
            for (inputs, targets) in zip(batch.inputs.tokens, batch.targets) {
                #expect(inputs == Array(inputs[0]..<inputs[0] + 5))
                #expect(targets == inputs.map { $0 + 1 })
                starts.insert(inputs[0])
            }
        }
        // All of them, the last target being the last token.
        #expect(starts == Set(0...17))
    }

    @Test func `an encoder reads a window, and the decoder writes the next`() {
        let sampler = Self.text(23, hasEncoder: true)
        var starts: Set<Int> = []
        for number in 0..<100 {
            let batch = sampler.batch(number)
            let sources = batch.source?.tokens ?? []
            #expect(sources.count == 4)
            for (source, (inputs, targets)) in zip(sources, zip(batch.inputs.tokens, batch.targets)) {
                #expect(source == Array(source[0]..<source[0] + 5))
                // It begins with the last token read, and predicts those after it.
                #expect(inputs == Array(source[0] + 4..<source[0] + 9))
                #expect(targets == inputs.map { $0 + 1 })
                starts.insert(source[0])
            }
        }
        #expect(starts == Set(0...13))
    }

    @Test(arguments: [false, true]) func `the shortest text has one window`(hasEncoder: Bool) {
        let count = BatchSampler.minimumTokenCount(length: 5, hasEncoder: hasEncoder)
        #expect(count == (hasEncoder ? 10 : 6))
        let sampler = Self.text(count, hasEncoder: hasEncoder)
        #expect(sampler.batch(3).targets.allSatisfy { $0 == Array(count - 5..<count) })
        #expect(sampler.evaluationBatches(maximumCount: 9).map(\.inputs.count) == [1])
    }

    @Test func `what is given of a pair is not to be predicted`() {
        let sampler = Self.pairs(hasEncoder: false)
        var seen: Set<[Int]> = []
        for number in 0..<20 {
            let batch = sampler.batch(number)
            #expect(batch.source == nil)
            for (row, (inputs, targets)) in zip(batch.inputs.tokens, batch.targets).enumerated() {
                let length = batch.inputs.lengths[row]
                let read = Array(inputs.prefix(length))
                let pair = Self.pairs.first { $0.source[0] == read[0] }
                seen.insert(pair?.source ?? [])
                #expect(read == (pair?.source ?? []) + [Self.end] + (pair?.target ?? []))
                #expect(targets.prefix(pair?.source.count ?? 0).allSatisfy { $0 == -1 })
                #expect(
                    Array(targets[(pair?.source.count ?? 0)..<length]) == (pair?.target ?? []) + [Self.end])
                #expect(targets[length...].allSatisfy { $0 == -1 })
            }
        }
        #expect(seen.count == 3)
    }

    @Test func `an encoder is given the source alone`() {
        let sampler = Self.pairs(hasEncoder: true)
        for batch in (0..<20).map(sampler.batch) + sampler.evaluationBatches(maximumCount: 5) {
            for row in 0..<batch.inputs.count {
                let source = Array(batch.source?.tokens[row].prefix(batch.source?.lengths[row] ?? 0) ?? [])
                let pair = Self.pairs.first { $0.source == source }
                let length = batch.inputs.lengths[row]
                #expect(Array(batch.inputs.tokens[row].prefix(length)) == [Self.end] + (pair?.target ?? []))
                #expect(Array(batch.targets[row].prefix(length)) == (pair?.target ?? []) + [Self.end])
                #expect(batch.targets[row][length...].allSatisfy { $0 == -1 })
            }
        }
    }

    @Test func `a pair is as long as what is read of it`() {
        let pair = TokenPair(source: [1, 2, 3], target: [4])
        #expect(BatchSampler.length(of: pair, hasEncoder: false) == 5)
        #expect(BatchSampler.length(of: pair, hasEncoder: true) == 3)
        #expect(BatchSampler.length(of: TokenPair(source: [1], target: [4, 5, 6]), hasEncoder: true) == 4)
    }

    // MARK: - What is kept back

    @Test(arguments: [false, true]) func `windows to compare runs by do not overlap`(hasEncoder: Bool) {
        let sampler = Self.text(64, hasEncoder: hasEncoder)
        let all = sampler.evaluationBatches(maximumCount: 100)
        #expect(all == sampler.evaluationBatches(maximumCount: 100))
        let starts = all.flatMap { $0.targets.map { $0[0] } }
        #expect(zip(starts, starts.dropFirst()).allSatisfy { $0 + 5 == $1 })
        #expect(starts.count == (hasEncoder ? 11 : 12))
        #expect(all.allSatisfy { $0.inputs.count <= 4 })
        // Fewer are spread over the text.
        let few = sampler.evaluationBatches(maximumCount: 1).flatMap { $0.targets.map { $0[0] } }
        #expect(few.count == 4)
        #expect(zip(few, few.dropFirst()).allSatisfy { $1 - $0 >= 10 })
        #expect(few[0] == starts[0])
    }

    @Test func `the end of a text is kept back, and never learned from`() {
        let (training, heldOut) = TrainingExamples.text(Array(0..<107)).split(heldOut: 0.1, seed: 1)
        #expect(training == .text(Array(0..<97)) && heldOut == .text(Array(97..<107)))
        let sampler = BatchSampler(training, batchSize: 8, length: 7, hasEncoder: false, endToken: 0, seed: 1)
        for batch in (0..<50).map(sampler.batch) {
            #expect(batch.targets.joined().allSatisfy { $0 < 97 })
        }
        let none = TrainingExamples.text([1, 2, 3]).split(heldOut: 0, seed: 1)
        #expect(none.training.tokenCount == 3 && none.heldOut.tokenCount == 0)
    }

    @Test func `pairs are kept back by the seed, each whole`() {
        let pairs = (0..<1000).map { TokenPair(source: [$0], target: [$0, $0]) }
        let (training, heldOut) = TrainingExamples.pairs(pairs).split(heldOut: 0.1, seed: 1)
        guard case .pairs(let learned) = training, case .pairs(let kept) = heldOut else {
            Issue.record("Pairs became something else.")
            return
        }
        #expect(Set(learned).isDisjoint(with: kept))
        #expect(Set(learned).union(kept) == Set(pairs))
        // 100 of 1,000, give or take three deviations.
        #expect((72...128).contains(kept.count))
        #expect(TrainingExamples.pairs(pairs).split(heldOut: 0.1, seed: 1).heldOut == heldOut)
        #expect(TrainingExamples.pairs(pairs).split(heldOut: 0.1, seed: 2).heldOut != heldOut)
        // What was kept back stays so when pairs are added at the end.
        let more = TrainingExamples.pairs(pairs + [TokenPair(source: [7], target: [7])])
        guard case .pairs(let keptOfMore) = more.split(heldOut: 0.1, seed: 1).heldOut else { return }
        #expect(Array(keptOfMore.prefix(kept.count)) == kept)
    }

    @Test func `examples without a window stop with both numbers`() async {
        await #expect(processExitsWith: .failure) {
            _ = BatchSampler(
                .text([1, 2, 3]), batchSize: 1, length: 3, hasEncoder: false, endToken: 0, seed: 1)
        }
        await #expect(processExitsWith: .failure) {
            _ = BatchSampler(.pairs([]), batchSize: 1, length: 3, hasEncoder: false, endToken: 0, seed: 1)
        }
    }
}
