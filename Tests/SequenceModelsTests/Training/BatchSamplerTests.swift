import SequenceModels
import Testing

@Suite struct `Batches` {
    private static func text(hasEncoder: Bool, seed: UInt64 = 1) -> BatchSampler {
        BatchSampler(
            .text(Array(0..<97)), batchSize: 5, length: 7, hasEncoder: hasEncoder, endToken: 99, seed: seed)
    }

    @Test func `are a function of their number`() {
        let sampler = Self.text(hasEncoder: false)
        #expect(sampler.batch(12) == Self.text(hasEncoder: false).batch(12))
        #expect(sampler.batch(12) != sampler.batch(13))
        #expect(sampler.batch(12) != Self.text(hasEncoder: false, seed: 2).batch(12))
    }

    @Test func `of a text ask for the next token of each`() {
        for number in 0..<50 {
            let batch = Self.text(hasEncoder: false).batch(number)
            #expect(batch.source == nil)
            for (inputs, targets) in zip(batch.inputs.tokens, batch.targets) {
                #expect(inputs.count == 7 && targets == inputs.map { $0 + 1 })
                #expect(inputs[0] >= 0 && targets[6] < 97)
            }
        }
    }

    @Test func `for an encoder have the window before as the source`() throws {
        for number in 0..<50 {
            let batch = Self.text(hasEncoder: true).batch(number)
            let source = try #require(batch.source)
            for (row, targets) in batch.targets.enumerated() {
                #expect(source.tokens[row].count == 7)
                // The decoder begins with what the source ends with.
                #expect(batch.inputs.tokens[row][0] == source.tokens[row][6])
                #expect(targets == batch.inputs.tokens[row].map { $0 + 1 })
                #expect(targets[0] == source.tokens[row][6] + 1)
            }
        }
    }

    @Test func `of a text take every window in the end`() {
        let sampler = Self.text(hasEncoder: false)
        let starts = Set((0..<400).flatMap { sampler.batch($0).inputs.tokens.map { $0[0] } })
        #expect(starts == Set(0...89))
    }

    @Test func `of pairs ask for the target alone`() throws {
        let pairs = TrainingExamples.pairs([TokenPair(source: [1, 2, 3], target: [4, 5])])
        let reading = BatchSampler(pairs, batchSize: 2, length: 9, hasEncoder: false, endToken: 9, seed: 1).batch(0)
        #expect(reading.inputs.tokens[0] == [1, 2, 3, 9, 4, 5])
        #expect(reading.targets[0] == [-1, -1, -1, 4, 5, 9])
        #expect(reading.targetCount == 6)
        let encoding = BatchSampler(pairs, batchSize: 2, length: 9, hasEncoder: true, endToken: 9, seed: 1).batch(0)
        #expect(encoding.source?.tokens[0] == [1, 2, 3])
        #expect(encoding.inputs.tokens[0] == [9, 4, 5])
        #expect(encoding.targets[0] == [4, 5, 9])
    }

    @Test func `of pairs of different lengths ask for nothing in padding`() {
        let pairs = TrainingExamples.pairs(
            (1..<12).map { TokenPair(source: [1], target: [Int](repeating: 2, count: $0)) })
        let batch = BatchSampler(pairs, batchSize: 7, length: 99, hasEncoder: true, endToken: 9, seed: 1).batch(3)
        for (row, targets) in batch.targets.enumerated() {
            #expect(targets.prefix(batch.inputs.lengths[row]).allSatisfy { $0 >= 0 })
            #expect(targets.dropFirst(batch.inputs.lengths[row]).allSatisfy { $0 == -1 })
        }
    }

    @Test func `that are kept back are never learned from`() throws {
        let (training, heldOut) = TrainingExamples.text(Array(0..<1000)).split(heldOut: 0.1, seed: 1)
        #expect(training == .text(Array(0..<900)) && heldOut == .text(Array(900..<1000)))
        let pairs = (0..<1000).map { TokenPair(source: [$0], target: [$0]) }
        let (learned, kept) = TrainingExamples.pairs(pairs).split(heldOut: 0.1, seed: 1)
        guard case .pairs(let learned) = learned, case .pairs(let kept) = kept else { return }
        #expect(Set(learned).isDisjoint(with: kept) && learned.count + kept.count == 1000)
        #expect(60..<140 ~= kept.count)
    }

    @Test func `for evaluation go through all there is, once`() {
        let batches = Self.text(hasEncoder: false).evaluationBatches(maximumCount: 100)
        let starts = batches.flatMap { $0.inputs.tokens.map { $0[0] } }
        #expect(starts == Array(stride(from: 0, through: 84, by: 7)))
        #expect(Self.text(hasEncoder: false).evaluationBatches(maximumCount: 1).count == 1)
    }
}
