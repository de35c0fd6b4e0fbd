internal import Attention
internal import PretrainedModels
internal import SequenceModels

/// all-MiniLM-L6-v2 as users run it: texts of random tokens to vectors, pooling included.
enum EmbeddingWorkload {
    static var all: [Workload] {
        [ElementType.float32, .bfloat16].flatMap { type in
            [(1, 16), (1, 128), (32, 128), (8, 512)].map { texts($0.0, $0.1, type) }
        }
    }

    /// 6 layers of width 384: four matrices of attention, and two of the feed-forward block.
    private static let layerWeightCount = Double(6 * (4 * 384 * 384 + 2 * 1536 * 384))

    private static func embedder(_ work: String, _ type: ElementType) throws -> TextEmbedder {
        do {
            return try TextEmbedder(
                folder: "\(ModelLocator().modelsFolder)/\(TextEmbedder.defaultName)", elementType: type)
        } catch {
            throw WorkloadError.unavailable(work: work, reason: "\(error)")
        }
    }

    private static func texts(_ count: Int, _ length: Int, _ type: ElementType) -> Workload {
        let name = "embed MiniLM \(type) b\(count) t\(length)"
        let tokenCount = count * length
        // Each token's products, and its attention to the others of its text: scores and averages of 384 numbers a layer.
        let operations = Double(tokenCount) * (2 * layerWeightCount + Double(6 * 4 * 384 * length))
        let bound: Workload.Bound = type == .bfloat16 ? .bfloat16 : .float32
        return Workload(name, bound: bound, amount: operations, tokenCount: tokenCount) {
            let embedder = try embedder(name, type)
            var random = RandomStream(seed: 1)
            let tokens = (0..<count).map { _ in
                (0..<length).map { _ in Int32.random(in: 1000..<20_000, using: &random) }
            }
            let vectors = embedder.embeddings(ofTokens: tokens).doubles
            let model = embedder.encoder.transformer
            let expected = model.hiddenStates(of: model.embed([tokens[0].map(Int.init)])).sum(axis: 1).doubles
            let size = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
            try Workload.check(
                name, Array(vectors.prefix(expected.count)), expected.map { $0 / size },
                tolerance: type == .bfloat16 ? 1e-2 : 1e-5)
            return { _ = embedder.embeddings(ofTokens: tokens) }
        }
    }
}
