import Attention
import ModelFiles
import PretrainedModels
import SequenceModels
import TestSupport
import Testing

/// The real model against Transformers, on every reference prompt that there is.
@Suite(.serialized, .enabled(if: SmolLM2.isTested, "SmolLM2's file is absent"))
struct `SmolLM2 agrees with Transformers` {
    private static let model = Result { try LanguageModel(path: SmolLM2.path, arithmetic: .float32) }
    /// How far a logit may be off: both sides sum float32, in different orders.
    private static let logitTolerance: Float = 2e-3
    private static let weightTolerance: Float = 1e-4

    private let model: LanguageModel

    init() throws {
        model = try Self.model.get()
    }

    // Transformers cuts the text of a GGUF file by GPT-2's pattern, whatever the file says; so does this test.
    @Test func `on the tokens of each prompt`() throws {
        let tokenizer = try ByteLevelBPETokenizer(GGUFFile(path: SmolLM2.path), preTokenizer: .gpt2)
        for prompt in try ReferencePrompt.all() {
            #expect(
                try tokenizer.encode(prompt.text, recognizingSpecialTokens: true) == prompt.tokenIDs, "\(prompt)")
        }
    }

    @Test(arguments: try ReferencePrompt.all())
    func `on every logit and every attention weight`(prompt: ReferencePrompt) throws {
        let embeddings = (try #require(model.transformer)).embed([prompt.tokenIDs.map(Int.init)])
        let length = prompt.tokenIDs.count
        let (hidden, trace) = (try #require(model.transformer)).trace(
            embeddings, recording: TraceRequest(weights: 0..<length))
        let logits = (try #require(model.transformer)).logits(of: hidden.slice(axis: 1, range: length - 1..<length))
            .floats
        #expect(largestDifference(logits, prompt.lastLogits) <= Self.logitTolerance)

        let configuration = (try #require(model.transformer)).configuration
        #expect(prompt.attentionShape == [configuration.layerCount, configuration.headCount, length, length])
        let weights = trace.layers.flatMap { $0.attentionWeights?.floats ?? [] }
        #expect(largestDifference(weights, prompt.attentionWeights) <= Self.weightTolerance)
    }

    // A piece of one token is the path of generation: every step reads the cache. 512 takes each prompt whole.
    @Test(arguments: try ReferencePrompt.all(), [1, 3, 7, 512])
    func `with a cache and the prompt fed in pieces, on logits and greedy tokens`(
        prompt: ReferencePrompt, pieceLength: Int
    ) throws {
        let transformer = try #require(model.transformer)
        var state = transformer.initialState()
        var logits: [Float] = []
        func read(_ tokens: some Collection<Int32>) {
            logits = transformer.nextTokenLogits(after: [tokens.map(Int.init)], state: &state).floats
        }
        for start in stride(from: 0, to: prompt.tokenIDs.count, by: pieceLength) {
            read(prompt.tokenIDs[start..<min(start + pieceLength, prompt.tokenIDs.count)])
        }
        #expect(state.lengths == [prompt.tokenIDs.count])
        #expect(largestDifference(logits, prompt.lastLogits) <= Self.logitTolerance)

        // Without optimisation a token takes a third of a second.
        let continuation = prompt.greedyIDs.dropFirst(prompt.tokenIDs.count)
        #expect(!continuation.isEmpty)
        for expected in continuation.prefix(TestEnvironment.isDebugBuild ? (pieceLength > 1 ? 2 : 8) : .max) {
            let best = try #require(logits.indices.max { logits[$0] < logits[$1] })
            #expect(Int32(best) == expected)
            read([expected])
        }
    }

    @Test func `on the greedy continuation`() throws {
        for prompt in try ReferencePrompt.all() {
            let expected = prompt.greedyIDs.dropFirst(prompt.tokenIDs.count)
                .prefix(TestEnvironment.isDebugBuild ? 2 : .max)
            #expect(
                model.greedyContinuation(of: prompt.tokenIDs, maximumCount: expected.count) == Array(expected),
                "\(prompt)")
        }
    }
}

/// The largest difference between numbers of the same count; ∞ where they differ in number or one is NaN.
func largestDifference(_ left: [Float], _ right: [Float]) -> Float {
    guard left.count == right.count, !left.isEmpty else { return .infinity }
    return zip(left, right).reduce(0) { largest, pair in
        let difference = abs(pair.0 - pair.1)
        return difference.isNaN ? .infinity : max(largest, difference)
    }
}
