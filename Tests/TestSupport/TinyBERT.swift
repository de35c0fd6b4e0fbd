package import Foundation
package import ModelFiles

/// A BERT that fits in a test: a folder of `config.json` and random weights, in one file or several.
package struct TinyBERT {
    /// The values of `config.json`, as JSON.
    package var configuration: [String: String] = [
        "model_type": "\"bert\"", "hidden_size": "24", "num_attention_heads": "3", "num_hidden_layers": "2",
        "intermediate_size": "40", "vocab_size": "37", "max_position_embeddings": "20", "type_vocab_size": "2",
        "hidden_act": "\"gelu\"", "layer_norm_eps": "1e-12", "pad_token_id": "0",
    ]
    /// Name, shape and elements, in the order that they were added.
    package var tensors: [(name: String, shape: [Int], values: [Float])] = []

    package init(prefix: String = "", hasPooler: Bool = true, seed: UInt64 = 1) {
        var generator = SeededGenerator(seed: seed)
        func add(_ name: String, _ shape: [Int], around center: Float = 0) {
            let values = (0..<shape.reduce(1, *)).map { _ in center + Float.random(in: -0.3...0.3, using: &generator) }
            tensors.append((prefix + name, shape, values))
        }
        func linear(_ name: String, _ outputs: Int, _ inputs: Int) {
            add("\(name).weight", [outputs, inputs])
            add("\(name).bias", [outputs])
        }
        func norm(_ name: String) {
            add("\(name).weight", [24], around: 1)
            add("\(name).bias", [24])
        }
        add("embeddings.word_embeddings.weight", [37, 24])
        add("embeddings.position_embeddings.weight", [20, 24])
        add("embeddings.token_type_embeddings.weight", [2, 24])
        norm("embeddings.LayerNorm")
        for layer in 0..<2 {
            let name = "encoder.layer.\(layer)"
            for part in ["query", "key", "value"] { linear("\(name).attention.self.\(part)", 24, 24) }
            linear("\(name).attention.output.dense", 24, 24)
            norm("\(name).attention.output.LayerNorm")
            linear("\(name).intermediate.dense", 40, 24)
            linear("\(name).output.dense", 24, 40)
            norm("\(name).output.LayerNorm")
        }
        if hasPooler { linear("pooler.dense", 24, 24) }
    }

    /// Adds what predicts masked words, under BERT's names.
    package mutating func addMaskedTokenHead(seed: UInt64 = 2) {
        var generator = SeededGenerator(seed: seed)
        func add(_ name: String, _ shape: [Int]) {
            tensors.append(
                (
                    "cls.predictions.\(name)", shape,
                    (0..<shape.reduce(1, *)).map { _ in Float.random(in: -0.5...0.5, using: &generator) }
                ))
        }
        add("transform.dense.weight", [24, 24])
        add("transform.dense.bias", [24])
        add("transform.LayerNorm.weight", [24])
        add("transform.LayerNorm.bias", [24])
        add("bias", [37])
    }

    package subscript(tensor name: String) -> [Float]? {
        get { tensors.first { $0.name == name }?.values }
        set {
            guard let index = tensors.firstIndex(where: { $0.name == name }) else { return }
            if let newValue { tensors[index].values = newValue } else { tensors.remove(at: index) }
        }
    }

    package mutating func rename(_ change: (String) -> String) {
        for index in tensors.indices { tensors[index].name = change(tensors[index].name) }
    }

    /// Writes the folder.
    ///
    /// - Parameters:
    ///   - folder: Where to; it is made.
    ///   - fileCount: How many files of weights; several come with an index.
    ///   - type: How elements are stored: float32, or half of them.
    /// - Throws: When the system refuses.
    package func write(
        to folder: String, fileCount: Int = 1, type: SafetensorsFile.ElementType = .float32
    ) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let json =
            "{" + configuration.sorted { $0.key < $1.key }.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}"
        try Data(json.utf8).write(to: URL(fileURLWithPath: "\(folder)/config.json"))
        func name(_ index: Int) -> String {
            fileCount == 1 ? "model.safetensors" : "model-\(index + 1)-of-\(fileCount).safetensors"
        }
        var places: [String] = []
        for index in 0..<fileCount {
            let own = tensors.indices.filter { $0 % fileCount == index }.map { tensors[$0] }
            places += own.map { "\"\($0.name)\": \"\(name(index))\"" }
            try SafetensorsFile.write(
                tensors: own.map { tensor in
                    SafetensorsFile.TensorToWrite(
                        name: tensor.name, elementType: type, shape: tensor.shape,
                        bytes: tensor.values.flatMap { number -> [UInt8] in
                            switch type {
                            case .float16: withUnsafeBytes(of: Float16(number).bitPattern.littleEndian) { Array($0) }
                            case .bfloat16:
                                withUnsafeBytes(of: UInt16(number.bitPattern >> 16).littleEndian) { Array($0) }
                            default: withUnsafeBytes(of: number.bitPattern.littleEndian) { Array($0) }
                            }
                        })
                }, to: "\(folder)/\(name(index))")
        }
        guard fileCount > 1 else { return }
        let index = "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {\(places.joined(separator: ", "))}}"
        try Data(index.utf8).write(to: URL(fileURLWithPath: "\(folder)/model.safetensors.index.json"))
    }
}

extension TinyBERT {
    /// The tokens of ``writeSentenceFiles(to:pooling:isNormalized:maximumTokenCount:)``, as many as the model has.
    private static let vocabulary =
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + "abcdefghijklmnopqrstuvwxyz".map { String($0) }
        + ["##a", "##b", "##c", "##d", "##e", "the"]

    /// Writes, beside the model, what Python's sentence-transformers needs: a tokenizer, and how to make one vector of a
    /// text.
    ///
    /// - Parameters:
    ///   - folder: The model's.
    ///   - pooling: The members of `1_Pooling/config.json`, as JSON.
    ///   - isNormalized: Whether vectors are divided by their length.
    ///   - maximumTokenCount: The longest text.
    /// - Throws: When the system refuses.
    package func writeSentenceFiles(
        to folder: String, pooling: String = "\"pooling_mode_mean_tokens\": true", isNormalized: Bool = true,
        maximumTokenCount: Int = 12
    ) throws {
        func write(_ name: String, _ text: String) throws {
            let place = URL(fileURLWithPath: "\(folder)/\(name)")
            try FileManager.default.createDirectory(
                at: place.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: place)
        }
        func module(_ index: Int, _ path: String, _ type: String) -> String {
            "{\"idx\": \(index), \"name\": \"\(index)\", \"path\": \"\(path)\", \"type\": \"sentence_transformers.models.\(type)\"}"
        }
        try write("vocab.txt", Self.vocabulary.joined(separator: "\n") + "\n")
        try write("tokenizer_config.json", "{\"do_lower_case\": true, \"model_max_length\": 512}")
        let modules =
            [module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling")]
            + (isNormalized ? [module(2, "2_Normalize", "Normalize")] : [])
        try write("modules.json", "[\(modules.joined(separator: ", "))]")
        try write("1_Pooling/config.json", "{\"word_embedding_dimension\": 24, \(pooling)}")
        try write(
            "sentence_bert_config.json", "{\"max_seq_length\": \(maximumTokenCount), \"do_lower_case\": false}")
    }
}
