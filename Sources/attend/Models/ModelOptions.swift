import ArgumentParser
import Attention
import PretrainedModels

/// Which model, and how it is loaded: options of every command that loads one.
struct ModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A file or folder, owner/name[:file] in Hugging Face's cache, or a name that 'attend models list' shows.",
            valueName: "model"))
    var model: String?

    @Flag(
        name: .customLong("no-map"),
        help: "Read the weights instead of mapping them: safe if the file changes meanwhile.")
    var isNotMapped = false

    /// Loads a language model.
    func languageModel(arithmetic: WeightMatrix.Arithmetic) throws(PretrainedModelError) -> LanguageModel {
        try LanguageModel(
            path: try ModelLocator().path(of: model), arithmetic: arithmetic, mapped: !isNotMapped)
    }

    /// Loads a model that turns texts into vectors, ``TextEmbedder/defaultName`` where none is named.
    func embedder(elementType: ElementType) throws(PretrainedModelError) -> TextEmbedder {
        try TextEmbedder(
            folder: try ModelLocator().path(of: model ?? TextEmbedder.defaultName), elementType: elementType,
            mapped: !isNotMapped)
    }
}
