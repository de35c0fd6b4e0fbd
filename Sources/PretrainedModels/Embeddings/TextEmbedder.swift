public import Attention
internal import Foundation
public import ModelFiles
public import SequenceModels

/// A model that turns texts into vectors, which are the closer the more the texts mean the same.
///
/// Reads the folders of Python's sentence-transformers, with what they say of pooling, normalisation and the longest text,
/// and folders of an encoder alone, whose vectors are averaged.
///
/// Reimers and Gurevych, "Sentence-BERT", 2019 (arXiv:1908.10084).
public struct TextEmbedder: Sendable {
    /// The folder, in the user's cache, of the model that `Scripts/fetch-model` fetches.
    public static let defaultName = "all-MiniLM-L6-v2"

    /// The folder's name.
    public let name: String
    /// The folder.
    public let path: String
    /// The model, prepared to read texts of any lengths at once.
    public let encoder: SequenceEncoder
    /// How text becomes tokens.
    public let tokenizer: any TextTokenizer
    /// How the tokens' vectors become one; of several ways the vectors are put side by side.
    public let poolings: [TextPooling]
    /// Whether vectors are divided by their length.
    public let isNormalized: Bool
    /// How many tokens of a text are read, those around it included; what is beyond is left out.
    public let maximumTokenCount: Int
    /// What is put before each text, as the folder says.
    public let prompt: String

    /// How many tokens go through the model at once, unless a single text has more.
    ///
    /// MiniLM in bfloat16 reads texts of 512 tokens at 26,700 tokens a second so, by 2,048 at 21,000 and by 512 at 19,000
    /// (AMX, two threads); in float32 it makes 3 % at most between 1,024 and 2,048.
    static let tokenBudget = 1024

    /// Loads a model's folder.
    ///
    /// - Parameters:
    ///   - folder: With `config.json`, `model.safetensors` and `tokenizer.json` or `vocab.txt`; `modules.json` and what it
    ///     names are read where they are there.
    ///   - elementType: What products multiply: float32, or bfloat16, which is faster; see ``SequenceEncoder``.
    ///   - mapped: Whether the weights are mapped, or read.
    /// - Throws: `PretrainedModelError` when a file is damaged, or asks for something that is not done here.
    public init(
        folder: String, elementType: ElementType = .float32, mapped: Bool = true
    ) throws(PretrainedModelError) {
        let modules = try SentenceModules(folder: folder)
        let modelFolder = modules.encoderPath
        let transformer = try EncoderModel(folder: modelFolder, mapped: mapped).transformer
        let configuration = transformer.configuration
        do {
            tokenizer = try TokenizerFile.read(modelFolder)
        } catch {
            throw .unreadableFolder(path: modelFolder, reason: error.description)
        }
        guard tokenizer.vocabularySize <= configuration.vocabularySize else {
            throw .invalidConfiguration(
                path: modelFolder, key: "the number of tokens", value: "\(tokenizer.vocabularySize)",
                wanted: "at most \(configuration.vocabularySize), as the embedding has")
        }
        if let path = modules.poolingPath {
            poolings = try TextPooling.read(
                ConfigurationFile(path: "\(path)/config.json"), dimension: configuration.modelDimension)
        } else {
            poolings = [.mean]
        }
        let template = tokenizer.template
        let limit = try modules.maximumTokenCount()
        maximumTokenCount = min(limit ?? .max, configuration.longestSequence ?? .max)
        guard maximumTokenCount >= template.prefix.count + template.suffix.count else {
            throw .invalidConfiguration(
                path: modelFolder, key: "the longest text", value: "\(maximumTokenCount) tokens",
                wanted: "room for the \(template.prefix.count + template.suffix.count) around a text")
        }
        prompt = try modules.defaultPrompt()
        isNormalized = modules.isNormalized
        encoder = SequenceEncoder(transformer, elementType: elementType)
        path = folder
        name = folder.split(separator: "/").last.map(String.init) ?? folder
    }

    /// The numbers of a vector.
    public var dimension: Int { poolings.count * encoder.transformer.configuration.modelDimension }

    /// Returns the tokens of a text that the model reads, with those around it, ``maximumTokenCount`` at most.
    ///
    /// - Parameter text: Special tokens in it are plain text.
    /// - Returns: The tokens.
    /// - Throws: `TokenizerError` when the text is too long to be encoded at all.
    public func tokens(of text: String) throws(TokenizerError) -> [Int32] {
        let template = tokenizer.template
        let room = maximumTokenCount - template.prefix.count - template.suffix.count
        return template.prefix + (try tokenizer.encode(prompt + text)).prefix(room) + template.suffix
    }

    /// Returns the vectors of texts.
    ///
    /// A text's vector has the same bits whatever texts stand beside it, and with any number of threads.
    ///
    /// - Parameter texts: Any number of any lengths; an empty one has a vector as well.
    /// - Returns: `[texts.count, D]`, float32.
    /// - Throws: `TokenizerError` when a text is too long to be encoded at all.
    public func embeddings(of texts: [String]) throws(TokenizerError) -> Tensor {
        var tokens: [[Int32]] = []
        tokens.reserveCapacity(texts.count)
        for text in texts { tokens.append(try self.tokens(of: text)) }
        return embeddings(ofTokens: tokens)
    }

    /// Returns the vector of a text.
    ///
    /// - Parameter text: A text.
    /// - Returns: Its vector.
    /// - Throws: `TokenizerError` when the text is too long to be encoded at all.
    public func embedding(of text: String) throws(TokenizerError) -> [Float] {
        try embeddings(of: [text]).floats
    }

    /// Returns the vectors of texts that are tokens already.
    ///
    /// - Parameter tokens: From ``tokens(of:)``; each from 0 to less than the vocabulary's size, ``maximumTokenCount`` at most.
    /// - Returns: `[tokens.count, D]`, float32; zeros for a text without tokens.
    public func embeddings(ofTokens tokens: [[Int32]]) -> Tensor {
        let width = encoder.transformer.configuration.modelDimension
        let dimension = dimension
        var result = [Float](repeating: 0, count: tokens.count * dimension)
        // Of one length, texts stand side by side, and none is padded.
        let order = tokens.indices.sorted { (tokens[$0].count, $0) < (tokens[$1].count, $1) }
        var start = 0
        while start < order.count {
            var (end, tokenCount) = (start, 0)
            while end < order.count, end == start || tokenCount + tokens[order[end]].count <= Self.tokenBudget {
                tokenCount += tokens[order[end]].count
                end += 1
            }
            let batch = order[start..<end]
            encoder(batch.map { tokens[$0].map(Int.init) }).withUnsafeBytes { bytes in
                result.withUnsafeMutableBufferPointer { result in
                    guard let out = result.baseAddress else { return }
                    let vectors = bytes.assumingMemoryBound(to: Float.self)
                    var row = 0
                    for index in batch {
                        let count = tokens[index].count
                        if count > 0, let first = vectors.baseAddress {
                            pool(first + row * width, count: count, width: width, into: out + index * dimension)
                        }
                        row += count
                    }
                }
            }
            start = end
        }
        return Tensor(result, shape: [tokens.count, dimension])
    }

    /// Writes a text's vector.
    private func pool(
        _ vectors: UnsafePointer<Float>, count: Int, width: Int, into out: UnsafeMutablePointer<Float>
    ) {
        for (index, pooling) in poolings.enumerated() {
            pooling.write(vectors, count: count, dimension: width, into: out + index * width)
        }
        guard isNormalized else { return }
        let dimension = poolings.count * width
        let squares = (0..<dimension).reduce(0.0) { $0 + Double(out[$1]) * Double(out[$1]) }
        // As PyTorch's `normalize`, which leaves a vector of zeros as it is.
        let length = max(squares.squareRoot(), 1e-12)
        for column in 0..<dimension { out[column] = Float(Double(out[column]) / length) }
    }
}

/// What `modules.json` says, and the files beside it.
struct SentenceModules {
    let folder: String
    /// Where the model and its tokenizer are.
    let encoderPath: String
    /// Where the pooling's configuration is, if there is one.
    let poolingPath: String?
    let isNormalized: Bool

    init(folder: String) throws(PretrainedModelError) {
        self.folder = folder
        let path = "\(folder)/modules.json"
        guard FileManager.default.fileExists(atPath: path) else {
            (encoderPath, poolingPath, isNormalized) = (folder, nil, false)
            return
        }
        let file = try ConfigurationFile(path: path)
        var modules: [(type: String, path: String)] = []
        for module in file.json.arrayValue ?? [] {
            guard let type = module["type"]?.stringValue, let place = module["path"]?.stringValue else {
                throw .unreadableFolder(path: path, reason: "a module lacks its type or its path")
            }
            // A path that leads elsewhere could have any file of the user's read.
            let parts = place.split(separator: "/", omittingEmptySubsequences: false)
            guard place.isEmpty || !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }),
                !place.utf8.contains(0)
            else { throw .unreadableFolder(path: path, reason: "the module's path '\(place)' leaves the folder") }
            modules.append((type, place.isEmpty ? folder : "\(folder)/\(place)"))
        }
        // The class's name: the packages around it have changed.
        let kinds = modules.map { $0.type.split(separator: ".").last.map(String.init) ?? "" }
        guard kinds.first == "Transformer",
            kinds == ["Transformer", "Pooling", "Normalize"].prefix(kinds.count).map({ $0 })
        else {
            throw .unsupportedFeature(
                path: path, key: "the modules", value: String(kinds.joined(separator: ", ").prefix(200)),
                supported: "Transformer, Pooling and perhaps Normalize")
        }
        encoderPath = modules[0].path
        poolingPath = modules.count > 1 ? modules[1].path : nil
        isNormalized = modules.count > 2
    }

    /// What `sentence_bert_config.json` says, or else `tokenizer_config.json`.
    func maximumTokenCount() throws(PretrainedModelError) -> Int? {
        let path = "\(encoderPath)/sentence_bert_config.json"
        if FileManager.default.fileExists(atPath: path) {
            let file = try ConfigurationFile(path: path)
            guard try !file.flag("do_lower_case", default: false) else {
                throw .unsupportedFeature(path: path, key: "do_lower_case", value: "true", supported: "false")
            }
            if file["max_seq_length"] != nil { return try file.integer("max_seq_length") }
        }
        let tokenizerPath = "\(encoderPath)/tokenizer_config.json"
        guard FileManager.default.fileExists(atPath: tokenizerPath) else { return nil }
        // Where there is no limit, the file has a number beyond any integer.
        let limit = try ConfigurationFile(path: tokenizerPath)["model_max_length"]?.integerValue
        return limit.flatMap { Int(exactly: $0) }.flatMap { $0 > 0 ? $0 : nil }
    }

    /// What `config_sentence_transformers.json` has before each text.
    func defaultPrompt() throws(PretrainedModelError) -> String {
        let path = "\(folder)/config_sentence_transformers.json"
        guard FileManager.default.fileExists(atPath: path) else { return "" }
        let file = try ConfigurationFile(path: path)
        guard file["default_prompt_name"] != nil else { return "" }
        let name = try file.string("default_prompt_name")
        guard let prompt = file["prompts"]?[name]?.stringValue else {
            throw file.error("default_prompt_name", wanted: "the name of one of the prompts")
        }
        return prompt
    }
}
