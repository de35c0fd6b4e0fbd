internal import Attention
internal import PretrainedModels
internal import SequenceModels

/// SmolLM2-135M as users run it: reading a prompt of random tokens, and writing one token after the other.
enum LanguageModelWorkload {
    static var all: [Workload] {
        [128, 512, 1024].map(prompt) + [generation]
    }

    private static let title = "SmolLM2-135M Q4_1"
    /// Of the layers' matrices, which are what a prompt's tokens are multiplied by.
    private static let layerWeightCount = 106_168_320.0
    /// Of all matrices; a token that is written is multiplied by the embedding as well.
    private static let weightCount = 134_479_872.0

    private static func model(_ work: String) throws -> (any SequenceModel, byteCount: Int) {
        do {
            let path = try ModelLocator().path(of: nil)
            return (try LanguageModel(path: path).model, 0)
        } catch {
            throw WorkloadError.unavailable(work: work, reason: "\(error)")
        }
    }

    private static func prompt(_ length: Int) -> Workload {
        let name = "prefill \(title) t\(length)"
        return Workload(name, bound: .int8, amount: 2 * layerWeightCount * Double(length), tokenCount: length) {
            try readPrompt(try model(name).0, length)
        }
    }

    private static func readPrompt<Model: SequenceModel>(_ model: Model, _ length: Int) throws -> () -> Void {
        var random = RandomStream(seed: 1)
        let tokens = (0..<length).map { _ in Int.random(in: 1000..<40_000, using: &random) }
        return {
            var state = model.initialState(batchCount: 1, source: nil)
            _ = model.nextTokenLogits(after: [tokens], state: &state)
        }
    }

    private static var generation: Workload {
        let name = "generate \(title)"
        // 5 bits a weight, and 8.5 those of the embedding.
        let byteCount = layerWeightCount * 0.625 + (weightCount - layerWeightCount) * 1.0625
        return Workload(name, bound: .memory, amount: byteCount, tokenCount: 1) {
            try write(try model(name).0)
        }
    }

    private static func write<Model: SequenceModel>(_ model: Model) throws -> () -> Void {
        var state = model.initialState(batchCount: 1, source: nil)
        _ = model.nextTokenLogits(after: [Array(1000..<1008)], state: &state)
        var count = 0
        return {
            // As many tokens as a short answer has, and then the next answer.
            if count == 96 {
                state = model.initialState(batchCount: 1, source: nil)
                _ = model.nextTokenLogits(after: [Array(1000..<1008)], state: &state)
                count = 0
            }
            _ = model.step([2000 + count], state: &state)
            count += 1
        }
    }
}
