/// The user's folders for files of programs, by the XDG Base Directory Specification.
package enum UserFolder {
    /// What can be made or fetched again.
    case cache
    /// What cannot.
    case data

    /// Returns where the folder is.
    ///
    /// - Parameter environment: Where the folder's variable and `HOME` are looked up.
    /// - Returns: An absolute path: one that is relative is ignored, as the specification says.
    package func path(in environment: [String: String]) -> String {
        let (name, usual) =
            switch self {
            case .cache: ("XDG_CACHE_HOME", "/.cache")
            case .data: ("XDG_DATA_HOME", "/.local/share")
            }
        if let path = environment[name], path.hasPrefix("/") { return path }
        return (environment["HOME"] ?? "") + usual
    }
}
