internal import Attention
internal import ModelFiles
internal import SequenceModels

// The BERT family as a configuration of the Transformer: learned positions and types of tokens, a norm of their sum, norms
// after the blocks, and no mask. E5 and BGE are BERT. RoBERTa's positions begin behind that of the padding token, whose
// rows and those before it are left out here: Liu et al., "RoBERTa", 2019 (arXiv:1907.11692).

extension EncoderModel {
    /// What `model_type` may be.
    static var families: [String] { BERTDescription.families.map(\.0) }

    /// Loads a model from a folder with `config.json` and `model.safetensors`, or several files and their index.
    ///
    /// The matrices stay in the mapped file.
    ///
    /// - Parameters:
    ///   - folder: The folder.
    ///   - mapped: Whether the weights are mapped, which takes no time; a file that is changed meanwhile ends the process. Else
    ///     they are read.
    /// - Throws: `PretrainedModelError` when a file is damaged, the model is of another family, a number makes no sense, or
    ///   a tensor is missing, left over or of another shape.
    public init(folder: String, mapped: Bool = true) throws(PretrainedModelError) {
        let description = try BERTDescription(ConfigurationFile(path: "\(folder)/config.json"))
        let checkpoint: SafetensorsCheckpoint
        do {
            checkpoint = try SafetensorsCheckpoint(folder: folder, mapped: mapped)
        } catch {
            throw .unreadableTensors(error)
        }
        try self.init(description, checkpoint)
    }

    private init(_ description: BERTDescription, _ checkpoint: SafetensorsCheckpoint) throws(PretrainedModelError) {
        let configuration = description.configuration
        let (width, hidden) = (configuration.modelDimension, configuration.feedForwardDimension)
        var tensors = TensorTable(checkpoint, renaming: BERTDescription.currentName)
        let names = BERTTensorNames(description, tensors)
        try tensors.require(names.needed, ignoring: names.ignored)
        try names.checkIgnored(&tensors, configuration)

        func projection(_ name: String, _ rows: Int, _ columns: Int) throws(PretrainedModelError) -> Projection {
            Projection(
                weight: try tensors.matrix("\(name).weight", rows: rows, columns: columns),
                bias: try tensors.vector("\(name).bias", count: rows))
        }
        func norm(_ name: String) throws(PretrainedModelError) -> Norm {
            Norm(
                configuration.norm, weight: try tensors.vector("\(name).weight", count: width),
                bias: try tensors.vector("\(name).bias", count: width))
        }
        let embeddings = "\(names.prefix)embeddings"
        let embedding = try tensors.matrix(
            "\(embeddings).word_embeddings.weight", rows: configuration.vocabularySize, columns: width)
        let offset = description.positionOffset
        let positions = try tensors.decodedMatrix(
            "\(embeddings).position_embeddings.weight", rows: configuration.contextLength + offset, columns: width)
        let types = try tensors.decodedMatrix(
            "\(embeddings).token_type_embeddings.weight", rows: configuration.tokenTypeCount, columns: width)
        let embeddingNorm = try norm("\(embeddings).LayerNorm")
        var layers: [TransformerLayer] = []
        for index in 0..<configuration.layerCount {
            let layer = names.layer(index)
            layers.append(
                TransformerLayer(
                    normPlacement: .after, attentionNorm: try norm("\(layer).attention.output.LayerNorm"),
                    attention: MultiHeadAttention(
                        headCount: configuration.headCount,
                        query: try projection("\(layer).attention.self.query", width, width),
                        key: try projection("\(layer).attention.self.key", width, width),
                        value: try projection("\(layer).attention.self.value", width, width),
                        output: try projection("\(layer).attention.output.dense", width, width)),
                    feedForwardNorm: try norm("\(layer).output.LayerNorm"),
                    feedForward: FeedForward(
                        configuration.feedForward,
                        up: try projection("\(layer).intermediate.dense", hidden, width),
                        down: try projection("\(layer).output.dense", width, hidden))))
        }
        transformer = Transformer(
            configuration: configuration, embedding: embedding,
            positionEmbedding: positions.slice(axis: 0, range: offset..<offset + configuration.contextLength),
            tokenTypeEmbedding: types, embeddingNorm: embeddingNorm, stack: TransformerStack(layers: layers))
        pooler = names.hasPooler ? try projection(names.pooler, width, width) : nil
        if let head = names.head {
            maskedTokenHead = MaskedTokenHead(
                projection: try projection(head.projection, width, width), activation: configuration.feedForward,
                norm: try norm(head.norm),
                bias: try tensors.vector(head.bias, count: configuration.vocabularySize))
        } else {
            maskedTokenHead = nil
        }
    }
}

/// What `config.json` says of a model of the BERT family.
private struct BERTDescription {
    enum Family { case bert, roberta }

    let family: Family
    let configuration: TransformerConfiguration
    /// How many rows of the positions' table come before the first token's.
    let positionOffset: Int

    /// Old checkpoints have the names that TensorFlow had for a norm's parameters.
    static func currentName(_ name: String) -> String {
        if name.hasSuffix(".gamma") { return "\(name.dropLast(6)).weight" }
        return name.hasSuffix(".beta") ? "\(name.dropLast(5)).bias" : name
    }

    static let families: [(String, Family)] = [
        ("bert", .bert), ("roberta", .roberta), ("xlm-roberta", .roberta), ("camembert", .roberta),
    ]

    init(_ file: ConfigurationFile) throws(PretrainedModelError) {
        let type = try file.string("model_type", default: "bert")
        guard let family = Self.families.first(where: { $0.0 == type })?.1 else {
            throw .unsupportedArchitecture(
                path: file.path, architecture: String(type.prefix(80)), supported: Self.families.map(\.0))
        }
        let _: Void = try file.choice("position_embedding_type", [("absolute", ())], default: "absolute")
        for key in ["is_decoder", "add_cross_attention"] where try file.flag(key, default: false) {
            throw .unsupportedFeature(path: file.path, key: key, value: "true", supported: "false")
        }
        let width = try file.integer("hidden_size")
        let headCount = try file.integer("num_attention_heads")
        guard width % headCount == 0 else {
            throw file.error("num_attention_heads", wanted: "a divisor of hidden_size, \(width),")
        }
        let isRoBERTa = family == .roberta
        let padding = try file.integer("pad_token_id", default: isRoBERTa ? 1 : 0, in: 0...Int(Int32.max))
        let offset = isRoBERTa ? padding + 1 : 0
        let positionCount = try file.integer("max_position_embeddings")
        guard positionCount > offset else {
            throw file.error("max_position_embeddings", wanted: "more than the \(offset) before the first token's")
        }
        let kind = try file.choice(
            "hidden_act",
            [
                ("gelu", FeedForward.Kind.gelu), ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh),
                ("relu", .relu),
            ], default: "gelu")
        self.family = family
        positionOffset = offset
        configuration = TransformerConfiguration(
            modelDimension: width,
            layerCount: try file.integer("num_hidden_layers", in: 1...TransformerConfiguration.layerLimit),
            headCount: headCount, feedForwardDimension: try file.integer("intermediate_size"),
            vocabularySize: try file.integer("vocab_size"), contextLength: positionCount - offset,
            norm: .layer(epsilon: try file.number("layer_norm_eps", default: 1e-12)), normPlacement: .after,
            hasEmbeddingNorm: true, tokenTypeCount: try file.integer("type_vocab_size", default: 2),
            positions: .learned, feedForward: kind, hasBiases: true, isCausal: false)
    }
}

/// What a checkpoint of the BERT family calls its tensors.
private struct BERTTensorNames {
    /// Where the projection, the norm and the bias of what predicts masked words are.
    typealias Head = (projection: String, norm: String, bias: String)

    /// What comes before the names of the encoder's own tensors.
    let prefix: String
    let pooler: String
    let hasPooler: Bool
    let head: Head?
    let needed: [String]
    /// What may be there and says nothing new: numbers from 0 on, a second name of the embedding or of a bias, and the
    /// prediction of whether a second text follows the first.
    let ignored: [String]
    private let embeddingCopies: [String]

    init(_ description: BERTDescription, _ tensors: TensorTable) {
        let isRoBERTa = description.family == .roberta
        let outer = isRoBERTa ? "roberta." : "bert."
        let prefix = tensors.contains("\(outer)embeddings.word_embeddings.weight") ? outer : ""
        self.prefix = prefix
        pooler = "\(prefix)pooler.dense"
        hasPooler = tensors.contains("\(prefix)pooler.dense.weight")
        let names: Head =
            isRoBERTa
            ? ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
            : (
                "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias"
            )
        head = tensors.contains("\(names.projection).weight") ? names : nil
        let decoder = isRoBERTa ? "lm_head.decoder" : "cls.predictions.decoder"
        embeddingCopies = ["\(decoder).weight"]
        ignored = [
            "\(prefix)embeddings.position_ids", "\(prefix)embeddings.token_type_ids", "\(decoder).weight",
            "\(decoder).bias", "cls.seq_relationship.weight", "cls.seq_relationship.bias",
        ]
        func parameters(_ names: [String]) -> [String] { names.flatMap { ["\($0).weight", "\($0).bias"] } }
        var needed = ["word", "position", "token_type"].map { "\(prefix)embeddings.\($0)_embeddings.weight" }
        needed += parameters(["\(prefix)embeddings.LayerNorm"])
        for index in 0..<description.configuration.layerCount {
            needed += parameters(
                [
                    "attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense",
                    "attention.output.LayerNorm", "intermediate.dense", "output.dense", "output.LayerNorm",
                ].map { "\(prefix)encoder.layer.\(index).\($0)" })
        }
        if hasPooler { needed += parameters([pooler]) }
        if let head { needed += parameters([head.projection, head.norm]) + [head.bias] }
        self.needed = needed
    }

    func layer(_ index: Int) -> String { "\(prefix)encoder.layer.\(index)" }

    /// The head's matrix is the embedding's: another of its own would predict otherwise.
    func checkIgnored(
        _ tensors: inout TensorTable, _ configuration: TransformerConfiguration
    ) throws(PretrainedModelError) {
        for name in embeddingCopies where tensors.contains(name) {
            let (rows, columns) = (configuration.vocabularySize, configuration.modelDimension)
            let copy = try tensors.matrix(name, rows: rows, columns: columns)
            let embedding = try tensors.matrix(
                "\(prefix)embeddings.word_embeddings.weight", rows: rows, columns: columns)
            guard copy.rows([0]).floats.elementsEqual(embedding.rows([0]).floats) else {
                throw .unsupportedFeature(
                    path: tensors.path, key: name, value: "a matrix of its own", supported: "the embedding's")
            }
        }
    }
}
