import ArgumentParser
import Foundation
import PretrainedModels
import SemanticSearch

/// `attend search`: finds lines by what they mean.
struct SearchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "search",
        abstract: "Finds the lines of your files that mean what you ask, whatever their words.",
        discussion: """
            Files of lines, or of JSON lines; called again, only what has changed is embedded:
              attend search add notes.txt articles.jsonl
              attend search "where the keys are" --explain

            What there is, and no longer:
              attend search info
              attend search remove notes.txt

            The index is one SQLite file.
            """,
        subcommands: [
            SearchQueryCommand.self, SearchAddCommand.self, SearchRemoveCommand.self, SearchInfoCommand.self,
        ],
        defaultSubcommand: SearchQueryCommand.self)
}

/// Where the index is, and the model.
struct SearchIndexOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The index; by default swift-attention/search.sqlite in $XDG_DATA_HOME, or in ~/.local/share.",
            valueName: "file"))
    var index: String?

    @OptionGroup var common: CommonOptions

    /// The index's file.
    var path: String {
        if let index { return index }
        return UserFolder.data.path(in: ProcessInfo.processInfo.environment) + "/swift-attention/search.sqlite"
    }

    /// Opens the index; for creating one, its folder is made.
    func open(_ mode: SearchIndex.Mode) throws -> SearchIndex {
        if mode == .create && index == nil {
            let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
            do {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            } catch {
                throw CommandFailure.failure("cannot make the folder '\(folder.path)': \(error.localizedDescription)")
            }
        }
        return try SearchIndex(path: path, mode: mode)
    }
}

/// The model of an index.
struct SearchModelOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A folder with the model, or a name in the cache; by default the index's own, at first "
                + "\(TextEmbedder.defaultName).",
            valueName: "model"))
    var model: String?

    @Option(help: "What products multiply: float32, or bfloat16, which is faster and off by some thousandths.")
    var type: ProductType = .float32

    /// Loads the model that is named, or that the index was begun with.
    func embedder(for index: SearchIndex) throws -> TextEmbedder {
        let own = try? index.summary().modelPath
        let folder = try ModelLocator().path(of: model ?? own ?? TextEmbedder.defaultName)
        return try TextEmbedder(folder: folder, elementType: type.elementType)
    }
}

/// Runs a subcommand's work; what the index throws is said as it says it.
func reportingSearchFailures(_ body: () throws -> Void) throws {
    try reportingFailures {
        do {
            try body()
        } catch let error as SearchIndexError {
            if case .emptyQuery = error { throw CommandFailure.usage(error.description) }
            throw CommandFailure.failure(error.description)
        }
    }
}

/// The name of a file in the index: the same wherever the command is called.
func searchSourceName(of file: String) -> String { URL(fileURLWithPath: file).standardizedFileURL.path }
