import Attention
import Benchmark
import SequenceModels

// Whole training steps of next-token models: forward, cross-entropy, backward, AdamW. Vocabulary 4096, width 256, batches
// of 16 × 128 random tokens, as PyTorch is timed beside it (docs/performance.md): 2,048 tokens a step.

private let (vocabularySize, width, batchCount, length) = (4096, 256, 16, 128)

/// The models, each with as many parameters as its counterpart.
private func models(_ random: inout RandomStream) -> [(name: String, model: any SequenceModel)] {
    func predictor<Body: SequenceBody>(_ body: Body) -> TokenPredictor<Body> {
        TokenPredictor(vocabularySize: vocabularySize, body: body, random: &random)
    }
    let rnn = RNN(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
    let lstm = LSTM(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
    let gru = GRU(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
    let cnn = ConvolutionalNetwork(width: width, layerCount: 2, kernelSize: 5, random: &random)
    let transformer = Transformer(
        configuration: TransformerConfiguration(
            modelDimension: width, layerCount: 4, headCount: 8, vocabularySize: vocabularySize, contextLength: 1024,
            feedForward: .gelu, hasBiases: true, tiesEmbedding: false),
        random: &random)
    return [
        ("RNN", predictor(rnn)), ("LSTM", predictor(lstm)), ("GRU", predictor(gru)), ("CNN", predictor(cnn)),
        ("Transformer", transformer),
    ]
}

private func randomBatches() -> BatchSampler {
    var random = RandomStream(seed: 7)
    let tokens = (0..<100_000).map { _ in Int.random(in: 0..<vocabularySize, using: &random) }
    return BatchSampler(
        .text(tokens), batchSize: batchCount, length: length, hasEncoder: false, endToken: 0, seed: 1)
}

private func measure<Model: SequenceModel>(_ name: String, _ model: Model) {
    Benchmark("train \(name) v\(vocabularySize) d\(width) b\(batchCount) t\(length)") { benchmark in
        let sampler = randomBatches()
        var trainer = Trainer(model, plan: TrainingPlan(schedule: .constant, maximumGradientNorm: nil))
        guard let first = try? trainer.step(from: sampler, progress: 0) else { fatalError("\(name) went astray.") }
        // Random tokens: nothing is known before the first step but their number.
        precondition(abs(first.loss - 8.32) < 1, "The loss of \(name) is \(first.loss), not about ln 4096.")
        benchmark.startMeasurement()
        for _ in benchmark.scaledIterations {
            blackHole(try? trainer.step(from: sampler, progress: 0))
        }
        benchmark.stopMeasurement()
    }
}

let benchmarks: @Sendable () -> Void = {
    Benchmark.defaultConfiguration = .init(
        metrics: [.wallClock, .throughput], warmupIterations: 2, maxDuration: .seconds(4), maxIterations: 10_000)
    var random = RandomStream(seed: 1)
    for (name, model) in models(&random) { measure(name, model) }
}
