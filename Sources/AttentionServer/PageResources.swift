public import Foundation

/// The page's own files: HTML, style sheets and scripts, read once.
///
/// They are found, never assumed, so that a copy of the command works wherever it is put.
public struct PageResources: Sendable {
    /// The page's files are nowhere that they are looked for.
    public struct NotFound: Error, CustomStringConvertible {
        /// All places that were tried, in order.
        public let tried: [String]

        /// What is missing, where it was looked for, and what to try.
        public var description: String {
            let places = tried.map { "  \($0)" }.joined(separator: "\n")
            return "The page's files were not found. Looked for:\n\(places)\n"
                + "Set ATTENTION_RESOURCES to the folder that holds the folder 'page', or put it beside the command."
        }
    }

    /// A file as it is sent.
    struct File: Sendable {
        let bytes: [UInt8]
        let contentType: String
    }

    /// The folder they were read from.
    public let folder: String
    /// By path, `/` first.
    let files: [String: File]

    /// Finds the page's files, and reads them.
    ///
    /// Looks in `$ATTENTION_RESOURCES/page`; beside the executable, as SwiftPM's build folder has them; and in
    /// `../share/swift-attention/page` from there.
    ///
    /// - Parameters:
    ///   - environment: Where `ATTENTION_RESOURCES` is looked up.
    ///   - executable: The executable's path.
    /// - Throws: ``NotFound`` with all that was tried.
    public init(
        environment: [String: String] = ProcessInfo.processInfo.environment,
        executable: URL? = Bundle.main.executableURL
    ) throws(NotFound) {
        var tried: [String] = []
        for folder in Self.candidates(environment: environment, executable: executable) {
            tried.append(folder)
            let files = Self.files(in: folder)
            guard files["/"] != nil else { continue }
            self.folder = folder
            self.files = files
            return
        }
        throw NotFound(tried: tried)
    }

    private static func candidates(environment: [String: String], executable: URL?) -> [String] {
        var folders: [String] = []
        if let named = environment["ATTENTION_RESOURCES"], !named.isEmpty { folders.append("\(named)/page") }
        // A command that is reached by a link has its files beside what the link leads to, or beside the link.
        for executable in [executable, executable?.resolvingSymlinksInPath()] {
            guard let place = executable?.deletingLastPathComponent().path else { continue }
            for folder in [
                "\(place)/swift-attention_AttentionServer.resources/page",
                "\(place)/swift-attention_AttentionServer.bundle/Contents/Resources/page",
                "\(place)/swift-attention_AttentionServer.bundle/page",
                "\((place as NSString).deletingLastPathComponent)/share/swift-attention/page",
            ] where !folders.contains(folder) {
                folders.append(folder)
            }
        }
        return folders
    }

    private static func files(in folder: String) -> [String: File] {
        let types = [
            "html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
            "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml; charset=utf-8",
        ]
        var files: [String: File] = [:]
        for case let name as String in FileManager.default.enumerator(atPath: folder) ?? .init() {
            guard let type = types[(name as NSString).pathExtension],
                let bytes = FileManager.default.contents(atPath: "\(folder)/\(name)")
            else { continue }
            files["/\(name)"] = File(bytes: Array(bytes), contentType: type)
        }
        files["/"] = files["/index.html"]
        return files
    }
}
