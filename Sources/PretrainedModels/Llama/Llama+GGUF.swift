internal import Attention
public import ModelFiles
public import SequenceModels

// The Llama family as a configuration of the Transformer: RMS norm before each block, rotary positions, grouped
// heads and SwiGLU.
//
// Touvron et al., "LLaMA", 2023 (arXiv:2302.13971), section 2.2; grouped heads: Ainslie et al., "GQA", 2023
// (arXiv:2305.13245). llama.cpp's converter permutes the rows of the query and key weights so that rotary pairs
// are neighbours: GGUF files want the interleaved layout, where the same checkpoint in safetensors wants halves.

extension Transformer {
    /// Builds the model that a GGUF file of the Llama family describes.
    ///
    /// The weights stay in the file.
    ///
    /// - Parameter file: A GGUF file with `general.architecture` = `llama`.
    /// - Throws: `PretrainedModelError` when a number makes no sense, or a tensor is missing, left over or of
    ///   another shape.
    public init(llama file: GGUFFile) throws(PretrainedModelError) {
        let reader = LlamaReader(file: file)
        var tensors = TensorTable(file)
        let configuration = try reader.configuration(&tensors)
        let (width, queryWidth) = (configuration.modelDimension, configuration.headCount * configuration.headDimension)
        let keyWidth = configuration.keyValueHeadCount * configuration.headDimension
        let hidden = configuration.feedForwardDimension
        let vocabulary = configuration.vocabularySize

        let embedding = try tensors.matrix("token_embd.weight", rows: vocabulary, columns: width)
        var layers: [TransformerLayer] = []
        for index in 0..<configuration.layerCount {
            let prefix = "blk.\(index)."
            func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(PretrainedModelError) -> Projection {
                Projection(weight: try tensors.matrix(prefix + name, rows: rows, columns: columns))
            }
            func norm(_ name: String) throws(PretrainedModelError) -> Norm {
                Norm(configuration.norm, weight: try tensors.vector(prefix + name, count: width))
            }
            layers.append(
                TransformerLayer(
                    attentionNorm: try norm("attn_norm.weight"),
                    attention: MultiHeadAttention(
                        headCount: configuration.headCount, keyValueHeadCount: configuration.keyValueHeadCount,
                        query: try matrix("attn_q.weight", queryWidth, width),
                        key: try matrix("attn_k.weight", keyWidth, width),
                        value: try matrix("attn_v.weight", keyWidth, width),
                        output: try matrix("attn_output.weight", width, queryWidth)),
                    feedForwardNorm: try norm("ffn_norm.weight"),
                    feedForward: FeedForward(
                        .swiGLU, gate: try matrix("ffn_gate.weight", hidden, width),
                        up: try matrix("ffn_up.weight", hidden, width),
                        down: try matrix("ffn_down.weight", width, hidden))))
        }
        let finalNorm = Norm(configuration.norm, weight: try tensors.vector("output_norm.weight", count: width))
        // A file without this tensor ties it to the embedding.
        let outputWeight =
            file.tensor(named: "output.weight") == nil
            ? nil : try tensors.matrix("output.weight", rows: vocabulary, columns: width)
        try tensors.requireAllUsed()
        self.init(
            configuration: configuration, embedding: embedding,
            stack: TransformerStack(layers: layers, finalNorm: finalNorm), outputWeight: outputWeight)
    }
}

/// Reads the description of a model from the metadata, and checks that it makes sense.
private struct LlamaReader {
    private static let rotaryDivisorsName = "rope_freqs.weight"
    /// More layers than this are refused before anything is made of them.
    private static let layerLimit = 4096

    let file: GGUFFile
    private var path: String { file.file.path }
    private var metadata: GGUFFile.Metadata { file.metadata }

    /// Takes the tensor that is part of the description.
    func configuration(_ tensors: inout TensorTable) throws(PretrainedModelError) -> TransformerConfiguration {
        let architecture = try reading { () throws(GGUFError) in try metadata.string("general.architecture") }
        guard architecture == "llama" else {
            throw .unsupportedArchitecture(path: path, architecture: architecture, supported: ["llama"])
        }
        let width = try positive("llama.embedding_length")
        let headCount = try positive("llama.attention.head_count")
        let keyValueHeadCount = try positive("llama.attention.head_count_kv", default: headCount)
        guard headCount % keyValueHeadCount == 0 else {
            throw invalid("llama.attention.head_count_kv", keyValueHeadCount, "a divisor of the \(headCount) heads")
        }
        let headDimension = try headDimension()
        let epsilon = try number("llama.attention.layer_norm_rms_epsilon")
        let layerCount = try positive("llama.block_count")
        guard layerCount <= Self.layerLimit else {
            throw invalid("llama.block_count", layerCount, "at most \(Self.layerLimit)")
        }
        guard let embedding = file.tensor(named: "token_embd.weight"), embedding.dimensions.count == 2 else {
            throw .wrongTensors(path: path, missing: ["token_embd.weight with two dimensions"], unexpected: [])
        }
        return TransformerConfiguration(
            modelDimension: width, layerCount: layerCount, headCount: headCount,
            keyValueHeadCount: keyValueHeadCount, headDimension: headDimension,
            feedForwardDimension: try positive("llama.feed_forward_length"),
            vocabularySize: embedding.dimensions[1], contextLength: try positive("llama.context_length"),
            norm: .rms(epsilon: epsilon), positions: .rotary(try rotary(&tensors)), feedForward: .swiGLU,
            tiesEmbedding: file.tensor(named: "output.weight") == nil)
    }

    private func headDimension() throws(PretrainedModelError) -> Int {
        let width = try positive("llama.embedding_length")
        let headCount = try positive("llama.attention.head_count")
        guard metadata.contains("llama.attention.key_length") else {
            guard width % headCount == 0 else {
                throw invalid("llama.attention.head_count", headCount, "a divisor of the width \(width)")
            }
            return width / headCount
        }
        let dimension = try positive("llama.attention.key_length")
        let valueDimension = try positive("llama.attention.value_length", default: dimension)
        guard dimension == valueDimension else {
            throw .unsupportedFeature(
                path: path, key: "llama.attention.value_length", value: "\(valueDimension)",
                supported: "the key's length, \(dimension)")
        }
        // Products of these are taken below; both are checked against the tensors after that.
        guard dimension <= Int(Int32.max) && headCount <= Int(Int32.max) else {
            throw invalid("llama.attention.key_length", dimension, "a reasonable number")
        }
        return dimension
    }

    private func rotaryDimension() throws(PretrainedModelError) -> Int {
        let headDimension = try headDimension()
        let dimension = try positive("llama.rope.dimension_count", default: headDimension)
        guard dimension % 2 == 0 && dimension <= headDimension else {
            throw invalid("llama.rope.dimension_count", dimension, "an even number of at most \(headDimension)")
        }
        return dimension
    }

    private func rotary(_ tensors: inout TensorTable) throws(PretrainedModelError) -> RotaryEmbedding {
        let dimension = try rotaryDimension()
        let base = try number("llama.rope.freq_base", default: 10_000)
        return RotaryEmbedding(
            dimension: dimension, base: base, layout: .interleaved,
            scaling: try scaling(pairCount: dimension / 2, &tensors))
    }

    /// Scales as llama.cpp does: where a factor is given without a type, the type is `linear`.
    private func scaling(
        pairCount: Int, _ tensors: inout TensorTable
    ) throws(PretrainedModelError) -> RotaryEmbedding.Scaling {
        let key = "llama.rope.scaling.type"
        // Older files have the second key.
        let factorKeys = ["llama.rope.scaling.factor", "llama.rope.scale_linear"]
        let factorKey = factorKeys.first { metadata.contains($0) }
        let type = try reading { () throws(GGUFError) in
            try metadata.string(key, default: factorKey == nil ? "none" : "linear")
        }
        var scaling = RotaryEmbedding.Scaling.none
        switch type {
        case "none": break
        case "linear":
            let factor = try number(factorKey ?? factorKeys[0], allowsZero: true)
            // llama.cpp takes 0 as no factor.
            if factor != 0 && factor != 1 { scaling = .linear(factor: factor) }
        default: throw .unsupportedFeature(path: path, key: key, value: type, supported: "none, linear")
        }
        guard file.tensor(named: Self.rotaryDivisorsName) != nil else { return scaling }
        guard scaling == .none else {
            throw .unsupportedFeature(
                path: path, key: key, value: type, supported: "none beside the tensor \(Self.rotaryDivisorsName)")
        }
        let divisors = try tensors.vector(Self.rotaryDivisorsName, count: pairCount).doubles
        guard divisors.allSatisfy({ $0.isFinite && $0 > 0 }) else {
            throw .invalidConfiguration(
                path: path, key: Self.rotaryDivisorsName, value: "not finite or not above 0", wanted: "positive numbers"
            )
        }
        return .perPair(divisors: divisors)
    }

    private func positive(_ key: String, default fallback: Int? = nil) throws(PretrainedModelError) -> Int {
        let value = try reading { () throws(GGUFError) in
            if let fallback { return try metadata.integer(key, default: fallback) }
            return try metadata.integer(key, as: Int.self)
        }
        // Widths are multiplied with each other: keep every product within 64 bits.
        guard value > 0 && value <= Int(Int32.max) else { throw invalid(key, value, "a number from 1 to \(Int32.max)") }
        return value
    }

    private func number(
        _ key: String, default fallback: Double? = nil, allowsZero: Bool = false
    ) throws(PretrainedModelError) -> Double {
        let value = try reading { () throws(GGUFError) in
            if let fallback { return try metadata.double(key, default: fallback) }
            return try metadata.double(key)
        }
        guard value.isFinite && (value > 0 || allowsZero && value == 0) else {
            throw invalid(key, value, allowsZero ? "a finite number of at least 0" : "a finite number above 0")
        }
        return value
    }

    private func invalid(_ key: String, _ value: some CustomStringConvertible, _ wanted: String) -> PretrainedModelError
    {
        .invalidConfiguration(path: path, key: key, value: value.description, wanted: wanted)
    }

    private func reading<Value>(_ body: () throws(GGUFError) -> Value) throws(PretrainedModelError) -> Value {
        do {
            return try body()
        } catch {
            throw .unreadableFile(error)
        }
    }
}
