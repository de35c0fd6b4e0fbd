package import ModelFiles

/// A Llama that fits in a test: random weights, a vocabulary of all bytes and a few merges.
package struct TinyLlama {
    package var layerCount = 2
    package var modelDimension = 32
    package var headCount = 4
    package var keyValueHeadCount = 2
    package var feedForwardDimension = 64
    package var contextLength = 96
    /// How matrices are stored; norms are always float32.
    package var type = GGUFFile.TensorType.float32
    package var seed: UInt64 = 1
    /// Which bytes have a token.
    package var alphabet: [UInt8] = Array(0...255)
    package var merges = [
        "Ġ t", "h e", "Ġt he", "i n", "a n", "e r", "Ġ Ġ", "Ã ©", "l l", "he ll", "hell o", "Ġ w", "o r",
    ]
    /// Whether the tokenizer asks for `<|start|>` in front of each text.
    package var addsBeginningOfSequence = false

    package init() {}

    /// Two special tokens, one per byte, one per merge.
    package var tokens: [String] {
        ["<|end|>", "<|start|>"] + alphabet.map { String(Self.character(of: $0)) }
            + merges.map { $0.filter { $0 != " " } }
    }

    /// GPT-2's name of a byte: itself where it is visible in Latin-1, else a letter from U+0100 on.
    private static func character(of byte: UInt8) -> Character {
        func isVisible(_ byte: UInt8) -> Bool { 33...126 ~= byte || 161...172 ~= byte || byte >= 174 }
        let hiddenBefore = (0..<Int(byte)).count { !isVisible(UInt8($0)) }
        return Character(Unicode.Scalar(UInt32(isVisible(byte) ? Int(byte) : 256 + hiddenBefore)) ?? "?")
    }

    /// The file, to be changed or written.
    package var contents: GGUFContents {
        var generator = SeededGenerator(seed: seed)
        var contents = GGUFContents()
        contents["general.architecture"] = .string("llama")
        contents["llama.block_count"] = .uint32(UInt32(layerCount))
        contents["llama.context_length"] = .uint32(UInt32(contextLength))
        contents["llama.embedding_length"] = .uint32(UInt32(modelDimension))
        contents["llama.feed_forward_length"] = .uint32(UInt32(feedForwardDimension))
        contents["llama.attention.head_count"] = .uint32(UInt32(headCount))
        contents["llama.attention.head_count_kv"] = .uint32(UInt32(keyValueHeadCount))
        contents["llama.attention.layer_norm_rms_epsilon"] = .float32(1e-5)
        contents["llama.rope.freq_base"] = .float32(10_000)
        contents["tokenizer.ggml.model"] = .string("gpt2")
        contents["tokenizer.ggml.pre"] = .string("smollm")
        contents["tokenizer.ggml.tokens"] = .strings(tokens)
        contents["tokenizer.ggml.token_type"] = .int32s(tokens.indices.map { $0 < 2 ? 3 : 1 })
        contents["tokenizer.ggml.merges"] = .strings(merges)
        contents["tokenizer.ggml.bos_token_id"] = .uint32(1)
        contents["tokenizer.ggml.eos_token_id"] = .uint32(0)
        contents["tokenizer.ggml.add_bos_token"] = .boolean(addsBeginningOfSequence)

        let keyWidth = modelDimension / headCount * keyValueHeadCount
        func matrix(_ name: String, rows: Int, columns: Int) {
            contents.tensors.append(
                type.randomMatrix(name, rows: rows, columns: columns, using: &generator))
        }
        func norm(_ name: String) {
            let values = (0..<modelDimension).map { _ in Float.random(in: 0.5...1.5, using: &generator) }
            contents.tensors.append(GGUFContents.Tensor(name, dimensions: [modelDimension], values))
        }
        matrix("token_embd.weight", rows: tokens.count, columns: modelDimension)
        for layer in 0..<layerCount {
            norm("blk.\(layer).attn_norm.weight")
            matrix("blk.\(layer).attn_q.weight", rows: modelDimension, columns: modelDimension)
            matrix("blk.\(layer).attn_k.weight", rows: keyWidth, columns: modelDimension)
            matrix("blk.\(layer).attn_v.weight", rows: keyWidth, columns: modelDimension)
            matrix("blk.\(layer).attn_output.weight", rows: modelDimension, columns: modelDimension)
            norm("blk.\(layer).ffn_norm.weight")
            matrix("blk.\(layer).ffn_gate.weight", rows: feedForwardDimension, columns: modelDimension)
            matrix("blk.\(layer).ffn_up.weight", rows: feedForwardDimension, columns: modelDimension)
            matrix("blk.\(layer).ffn_down.weight", rows: modelDimension, columns: feedForwardDimension)
        }
        norm("output_norm.weight")
        return contents
    }
}

extension GGUFFile.TensorType {
    /// Returns a matrix of random numbers of about ±0.4.
    fileprivate func randomMatrix(
        _ name: String, rows: Int, columns: Int, using generator: inout SeededGenerator
    ) -> GGUFContents.Tensor {
        func half(_ number: Float) -> [UInt8] {
            let bits = Float16(number).bitPattern
            return [UInt8(truncatingIfNeeded: bits), UInt8(bits >> 8)]
        }
        func random(_ count: Int) -> [UInt8] {
            (0..<count).map { _ in UInt8.random(in: 0 ... .max, using: &generator) }
        }
        var bytes: [UInt8] = []
        for _ in 0..<rows * columns / blockLength {
            let number = Float.random(in: -0.4...0.4, using: &generator)
            switch self {
            case .float32: bytes += withUnsafeBytes(of: number.bitPattern.littleEndian) { Array($0) }
            case .float16: bytes += half(number)
            case .bfloat16:
                bytes += withUnsafeBytes(of: UInt16(number.bitPattern >> 16).littleEndian) { Array($0) }
            case .q80: bytes += half(0.003 + number / 1000) + random(32)
            case .q40: bytes += half(0.05 + number / 100) + random(16)
            case .q41: bytes += half(0.05 + number / 100) + half(-0.375 + number / 100) + random(16)
            }
        }
        return GGUFContents.Tensor(name, dimensions: [columns, rows], type: self, bytes: bytes)
    }
}

extension GGUFContents.Tensor {
    /// The numbers that the bytes mean, by the definition of each type.
    package var values: [Float] {
        func half(_ offset: Int) -> Float {
            Float(Float16(bitPattern: UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8))
        }
        return stride(from: 0, to: bytes.count, by: type.bytesPerBlock).flatMap { start -> [Float] in
            func nibbles(_ first: Int) -> [Float] {
                let low = (0..<16).map { Float(bytes[first + $0] & 15) }
                return low + (0..<16).map { Float(bytes[first + $0] >> 4) }
            }
            switch type {
            case .float32:
                return [Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) })]
            case .float16: return [half(start)]
            case .bfloat16:
                return [Float(bitPattern: UInt32(bytes[start]) << 16 | UInt32(bytes[start + 1]) << 24)]
            case .q80: return (0..<32).map { half(start) * Float(Int8(bitPattern: bytes[start + 2 + $0])) }
            case .q40: return nibbles(start + 2).map { half(start) * ($0 - 8) }
            case .q41: return nibbles(start + 4).map { half(start) * $0 + half(start + 2) }
            }
        }
    }
}
