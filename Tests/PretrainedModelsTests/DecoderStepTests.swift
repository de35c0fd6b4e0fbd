import Attention
import ModelFiles
import SequenceModels
import TestSupport
import Testing

@testable import PretrainedModels

/// A token in one parallel section against the same operations one after the other.
@Suite(.serialized) struct `A step of a decoder` {
    private static let quantized = [GGUFFile.TensorType.q80, .q40, .q41]

    private func tiny(_ type: GGUFFile.TensorType, _ change: (inout TinyLlama) -> Void = { _ in }) throws -> Transformer
    {
        var tiny = TinyLlama()
        tiny.contextLength = 700
        tiny.type = type
        change(&tiny)
        return try #require(LanguageModel(tiny.contents.file(path: "/models/tiny.gguf")).transformer)
    }

    private func tokens(_ batchCount: Int, _ length: Int, seed: UInt64) -> [[Int]] {
        var random = SeededGenerator(seed: seed)
        return (0..<batchCount).map { _ in (0..<length).map { _ in Int.random(in: 2..<200, using: &random) } }
    }

    /// The logits after one more token, operation by operation.
    private func plainLogits(_ model: Transformer, _ tokens: [[Int]], _ state: inout TransformerState) -> Tensor {
        let hidden = model.hiddenStates(of: model.embed(tokens), state: &state)
        return model.logits(of: hidden).reshaped(to: [tokens.count, model.configuration.vocabularySize])
    }

    /// Compares `count` tokens after `length` others.
    private func compare(
        _ model: Transformer, batchCount: Int, length: Int, count: Int = 5, isTaken: Bool = true,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        var state = model.initialState(batchCount: batchCount, source: nil)
        if length > 0 { _ = model.hiddenStates(of: model.embed(tokens(batchCount, length, seed: 7)), state: &state) }
        var plain = state
        for step in 0..<count {
            let next = tokens(batchCount, 1, seed: UInt64(100 + step))
            let expected = plainLogits(model, next, &plain)
            if isTaken {
                let logits = model.stepLogits(after: model.embed(next), state: &state)
                #expect(logits?.floats == expected.floats, sourceLocation: sourceLocation)
            } else {
                let refused = model.stepLogits(after: model.embed(next), state: &state)
                #expect(refused == nil, sourceLocation: sourceLocation)
                #expect(
                    model.nextTokenLogits(after: next, state: &state).floats == expected.floats,
                    sourceLocation: sourceLocation)
            }
            #expect(state.lengths == plain.lengths, sourceLocation: sourceLocation)
        }
        // What was appended is read by the other way too.
        let last = tokens(batchCount, 1, seed: 8)
        #expect(
            plainLogits(model, last, &state).floats == plainLogits(model, last, &plain).floats,
            sourceLocation: sourceLocation)
    }

    // 254 tokens and some begin a second chunk of keys, 61 let the cache grow.
    @Test(.enabled(if: KernelInfo.name != "neon"), arguments: quantized, [1, 3, 8])
    func `returns what the operations return, bit for bit`(type: GGUFFile.TensorType, batchCount: Int) throws {
        let model = try tiny(type)
        for length in [0, 61, 254] { compare(model, batchCount: batchCount, length: length) }
    }

    @Test(.enabled(if: KernelInfo.name != "neon"), arguments: [ElementType.float16, .bfloat16])
    func `reads and writes caches of halves`(type: ElementType) throws {
        var model = try tiny(.q41)
        model.cacheType = type
        compare(model, batchCount: 2, length: 254)
    }

    @Test(.enabled(if: KernelInfo.name != "neon"), arguments: [(6, 6), (6, 3), (6, 1)])
    func `takes heads that share keys or do not`(heads: (Int, Int)) throws {
        let model = try tiny(.q80) {
            ($0.headCount, $0.keyValueHeadCount) = heads
            ($0.modelDimension, $0.feedForwardDimension, $0.layerCount) = (96, 160, 3)
        }
        compare(model, batchCount: 2, length: 40)
    }

    @Test(.enabled(if: KernelInfo.name != "neon"))
    func `contract 5: bits depend on neither the number of threads nor the batch`() throws {
        let threadCount = ComputeThreads.count
        defer { ComputeThreads.count = threadCount }
        let model = try tiny(.q41)
        let prompts = tokens(3, 270, seed: 9)
        func logits(_ prompts: [[Int]]) -> [[Float]] {
            var state = model.initialState(batchCount: prompts.count, source: nil)
            _ = model.hiddenStates(of: model.embed(prompts), state: &state)
            let result = model.step(prompts.map { $0[0] }, state: &state)
            return prompts.indices.map { result.slice(axis: 0, range: $0..<$0 + 1).floats }
        }
        ComputeThreads.count = 1
        let expected = logits(prompts)
        for count in [1, 2, 3, 5, 20] {
            ComputeThreads.count = count
            #expect(logits(prompts) == expected)
            for index in prompts.indices { #expect(logits([prompts[index]]) == [expected[index]]) }
        }
    }

    @Test func `leaves the other models alone`() throws {
        compare(try tiny(.q41).computing(with: .float32), batchCount: 1, length: 20, isTaken: false)
        compare(try tiny(.float32), batchCount: 1, length: 20, isTaken: false)
        compare(try tiny(.q80), batchCount: 9, length: 20, isTaken: false)
        let model = try tiny(.q80)
        var state = model.initialState()
        #expect(model.stepLogits(after: model.embed([[2, 3]]), state: &state) == nil)
        #expect(state.lengths == [0])
    }

    @Test(.enabled(if: KernelInfo.name != "neon"))
    func `a state that was kept is not written`() throws {
        let model = try tiny(.q80)
        var state = model.initialState()
        _ = model.nextTokenLogits(after: [[5, 6, 7]], state: &state)
        let kept = state
        let expected = model.step([9], state: &state).floats
        for token in [11, 9] {
            var again = kept
            #expect((model.step([token], state: &again).floats == expected) == (token == 9))
        }
    }
}
