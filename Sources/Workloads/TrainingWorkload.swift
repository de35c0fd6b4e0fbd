internal import Attention
internal import SequenceModels

/// Whole training steps of next-token models: forward, cross-entropy, backward, AdamW.
///
/// Vocabulary 4,096, width 256, batches of 16 × 128 random tokens; two layers, the Transformer four of eight heads. Each
/// model has as many parameters as its counterpart in `peers.py`.
enum TrainingWorkload {
    private static let (vocabularySize, width, batchCount, length) = (4096, 256, 16, 128)

    static var all: [Workload] {
        ["RNN", "LSTM", "GRU", "CNN", "Transformer"].map { kind in
            let tokenCount = batchCount * length
            return Workload(
                "train \(kind) v\(vocabularySize) d\(width) b\(batchCount) t\(length)", bound: .float32,
                amount: operations(kind) * Double(tokenCount), tokenCount: tokenCount
            ) { try run(kind) }
        }
    }

    /// The operations of the matrix products per token: two forward and four backward for each weight.
    private static func operations(_ kind: String) -> Double {
        let square = Double(width * width)
        let perLayer: Double =
            switch kind {
            case "RNN": 2
            case "LSTM": 8
            case "GRU": 6
            case "CNN": 5
            default: 12
            }
        let attention = kind == "Transformer" ? 4 * 3.5 * 4 * Double(width) * Double(length) / 2 : 0
        let layerCount: Double = kind == "Transformer" ? 4 : 2
        return 6 * (perLayer * layerCount * square + Double(vocabularySize * width)) + attention
    }

    private static func run(_ kind: String) throws -> () -> Void {
        var random = RandomStream(seed: 1)
        switch kind {
        case "RNN":
            let body = RNN(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
            return try steps(of: predictor(body, &random), kind)
        case "LSTM":
            let body = LSTM(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
            return try steps(of: predictor(body, &random), kind)
        case "GRU":
            let body = GRU(inputDimension: width, hiddenDimension: width, layerCount: 2, random: &random)
            return try steps(of: predictor(body, &random), kind)
        case "CNN":
            let body = ConvolutionalNetwork(width: width, layerCount: 2, kernelSize: 5, random: &random)
            return try steps(of: predictor(body, &random), kind)
        default:
            let configuration = TransformerConfiguration(
                modelDimension: width, layerCount: 4, headCount: 8, vocabularySize: vocabularySize, contextLength: 1024,
                feedForward: .gelu, hasBiases: true, tiesEmbedding: false)
            return try steps(of: Transformer(configuration: configuration, random: &random), kind)
        }
    }

    private static func predictor<Body: SequenceBody>(
        _ body: Body, _ random: inout RandomStream
    ) -> TokenPredictor<Body> {
        TokenPredictor(vocabularySize: vocabularySize, body: body, random: &random)
    }

    private static func steps<Model: SequenceModel>(of model: Model, _ kind: String) throws -> () -> Void {
        var random = RandomStream(seed: 7)
        let tokens = (0..<100_000).map { _ in Int.random(in: 0..<vocabularySize, using: &random) }
        let sampler = BatchSampler(
            .text(tokens), batchSize: batchCount, length: length, hasEncoder: false, endToken: 0, seed: 1)
        var trainer = Trainer(model, plan: TrainingPlan(schedule: .constant, maximumGradientNorm: nil))
        // Of random tokens nothing is known before the first step but their number.
        let first = try trainer.step(from: sampler, progress: 0)
        try Workload.check("train \(kind)", [first.loss], [Double.log(Double(vocabularySize))], tolerance: 0.5)
        return { _ = try? trainer.step(from: sampler, progress: 0) }
    }
}
