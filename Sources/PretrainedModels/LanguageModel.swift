public import Attention
public import ModelFiles
public import SequenceModels

/// A model with its tokenizer: text in, predictions out.
public struct LanguageModel: Sendable {
    /// What it is called: the file's name without its ending, or the folder's, which says which weights speak.
    public let name: String
    /// The file or folder.
    public let path: String
    /// The model.
    public let model: any SequenceModel
    /// How text becomes tokens and back.
    public let tokenizer: any TextTokenizer
    /// How a text to continue is given to the model.
    public let prompting: Prompting

    /// What to tell whoever loaded it: checkpoints that were damaged, so that an older one was read.
    public let notes: [String]

    /// How a text to continue is given to a model.
    public enum Prompting: String, Sendable, Hashable, CaseIterable {
        /// As it is: the model learned running text.
        case text
        /// As a source whose target the model writes: it learned pairs.
        case pairs
    }

    /// The model as a Transformer, if it is one: what has heads to look at.
    public var transformer: Transformer? { model as? Transformer }

    init(
        name: String, path: String, model: any SequenceModel, tokenizer: any TextTokenizer, prompting: Prompting,
        notes: [String] = []
    ) {
        self.notes = notes
        self.name = name
        self.path = path
        self.model = model
        self.tokenizer = tokenizer
        self.prompting = prompting
    }

    /// Loads a model: a GGUF file of the Llama family, which stays mapped, so that weights are read when they are
    /// needed, or a folder that training wrote.
    ///
    /// - Parameters:
    ///   - path: The file, or the folder.
    ///   - arithmetic: What products with quantised weights compute with; see ``Transformer/arithmetic``.
    ///   - mapped: Whether the weights are mapped, which takes no time; a file that is shortened meanwhile ends the process.
    ///     Else they are read.
    /// - Throws: `PretrainedModelError` when it is damaged, is of another family or contradicts itself.
    public init(
        path: String, arithmetic: WeightMatrix.Arithmetic = .int8, mapped: Bool = true
    ) throws(PretrainedModelError) {
        if ModelFolder.isOne(path) {
            self = try ModelFolder(path: path).load(mapped: mapped)
            return
        }
        let file: GGUFFile
        do {
            file = try GGUFFile(path: path, mapped: mapped)
        } catch {
            throw .unreadableFile(error)
        }
        try self.init(file, arithmetic: arithmetic)
    }

    /// Loads a model from an opened file.
    ///
    /// - Parameters:
    ///   - file: A GGUF file of the Llama family.
    ///   - arithmetic: What products with quantised weights compute with; see ``Transformer/arithmetic``.
    /// - Throws: `PretrainedModelError` when the file is of another family or contradicts itself.
    public init(
        _ file: GGUFFile, arithmetic: WeightMatrix.Arithmetic = .int8
    ) throws(PretrainedModelError) {
        let path = file.file.path
        let fileName = path.split(separator: "/").last.map(String.init) ?? path
        let transformer = try Transformer(llama: file).computing(with: arithmetic)
        let tokenizer: ByteLevelBPETokenizer
        do {
            tokenizer = try ByteLevelBPETokenizer(file)
        } catch {
            throw .unusableTokenizer(path: path, error)
        }
        guard tokenizer.vocabularySize == transformer.configuration.vocabularySize else {
            throw .invalidConfiguration(
                path: path, key: "the number of tokens", value: "\(tokenizer.vocabularySize)",
                wanted: "\(transformer.configuration.vocabularySize), as the embedding has")
        }
        self.init(
            name: fileName.hasSuffix(".gguf") ? String(fileName.dropLast(5)) : fileName, path: path,
            model: transformer, tokenizer: tokenizer, prompting: .text,
            notes: Self.notes(on: transformer, askedFor: arithmetic))
    }

    /// Returns the model with what it keeps in memory stored as other types, if it is a Transformer; another stays as it is.
    ///
    /// - Parameters:
    ///   - weights: How matrices are stored, float32, float16 or bfloat16; see ``Transformer/storingWeights(as:)``. `nil`
    ///     leaves them.
    ///   - cache: How keys and values of what was read are; see ``Transformer/cacheType``. `nil` leaves it.
    /// - Returns: The model, by the same name.
    public func storing(weights: ElementType? = nil, cache: ElementType? = nil) -> LanguageModel {
        guard var stored = transformer else { return self }
        if let weights { stored = stored.storingWeights(as: weights) }
        if let cache { stored.cacheType = cache }
        return LanguageModel(
            name: name, path: path, model: stored, tokenizer: tokenizer, prompting: prompting, notes: notes)
    }

    /// Says if integers were asked for in vain.
    private static func notes(on model: Transformer, askedFor arithmetic: WeightMatrix.Arithmetic) -> [String] {
        guard model.outputWeight.format.isQuantized, model.arithmetic != arithmetic else { return [] }
        return ["the kernels in use, \(KernelInfo.name), multiply no integers: weights are decoded, which is slower."]
    }
}
