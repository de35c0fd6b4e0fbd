internal import Attention
internal import PretrainedModels
internal import SequenceModels

/// SmolLM2-135M as users run it: reading a prompt of random tokens, and writing one token after the other.
enum LanguageModelWorkload {
    static var all: [Workload] {
        [128, 512, 1024].map(prompt) + [generation]
    }

    private static let title = "SmolLM2-135M Q4_1"
    /// How many weights the layers have, by which a prompt's tokens are multiplied.
    ///
    /// 30 layers of width 576: queries and outputs, keys and values of 3 heads of 64, and the feed-forward part.
    private static let layerWeightCount = Double(30 * (2 * 576 * 576 + 2 * 192 * 576 + 3 * 1536 * 576))
    /// Those of the embedding, by which a token that is written is multiplied as well.
    private static let embeddingWeightCount = Double(49_152 * 576)

    private static func model(_ work: String) throws -> Transformer {
        do {
            let model = try LanguageModel(path: try ModelLocator().path(of: nil))
            if let transformer = model.transformer { return transformer }
        } catch {
            throw WorkloadError.unavailable(work: work, reason: "\(error)")
        }
        throw WorkloadError.unavailable(work: work, reason: "The default model is no Transformer.")
    }

    private static func prompt(_ length: Int) -> Workload {
        let name = "prefill \(title) t\(length)"
        return Workload(name, bound: .int8, amount: 2 * layerWeightCount * Double(length), tokenCount: length) {
            let model = try model(name)
            var random = RandomStream(seed: 1)
            let tokens = (0..<length).map { _ in Int.random(in: 1000..<40_000, using: &random) }
            func logits(_ model: Transformer) -> Tensor {
                var state = model.initialState(batchCount: 1, source: nil)
                return model.nextTokenLogits(after: [tokens], state: &state)
            }
            try check(name, logits(model), logits(model.computing(with: .float32)))
            return { _ = logits(model) }
        }
    }

    private static var generation: Workload {
        let name = "generate \(title)"
        // 5 bits a weight, and 8.5 those of the embedding.
        let byteCount = layerWeightCount * 0.625 + embeddingWeightCount * 1.0625
        return Workload(name, bound: .memory, amount: byteCount, tokenCount: 1) {
            let model = try model(name)
            func start(_ model: Transformer) -> TransformerState {
                var state = model.initialState(batchCount: 1, source: nil)
                _ = model.nextTokenLogits(after: [Array(1000..<1008)], state: &state)
                return state
            }
            let precise = model.computing(with: .float32)
            var (state, other) = (start(model), start(precise))
            try check(name, model.step([2000], state: &state), precise.step([2000], state: &other))
            var count = 1
            return {
                // As many tokens as a short answer has, and then the next answer.
                if count == 96 { (state, count) = (start(model), 0) }
                _ = model.step([2000 + count], state: &state)
                count += 1
            }
        }
    }

    /// Compares logits with those of float32 products: 8-bit activations change them by 0.35 in the mean at most.
    private static func check(_ work: String, _ found: Tensor, _ expected: Tensor) throws {
        let differences = zip(found.doubles, expected.doubles).map { abs($0 - $1) }
        let mean = differences.reduce(0, +) / Double(max(1, differences.count))
        try Workload.check(work, [mean], [0], tolerance: 0.35)
    }
}
