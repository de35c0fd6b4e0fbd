internal import HTTPTypes
internal import Hummingbird

/// Lets only the page itself in, and tells the browser to let nothing else in.
///
/// A page from elsewhere must not read a user's sentences or use the models: the `Host` header has to name this server
/// (else a name that is made to point here, DNS rebinding, would pass for it), `Origin` and `Sec-Fetch-Site` have to be
/// the page's own, and no header allows others to read an answer.
struct RequestGuard<Context: RequestContext>: RouterMiddleware {
    let hosts: AllowedHosts

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        var response: Response
        do {
            try check(request)
            response = try await next(request, context)
        } catch let failure as RequestFailure {
            response = failure.response()
        } catch let failure as ComputeQueue.Full {
            response = RequestFailure(
                status: .serviceUnavailable, what: "\(failure.limit) requests are waiting already.", place: "server",
                advice: "Try again in a second.", retryAfter: 1
            ).response()
        } catch is CancellationError {
            // Nobody reads this.
            response = RequestFailure(
                status: .serviceUnavailable, what: "The request was cancelled.", place: "server",
                advice: "Ask again.", retryAfter: 1
            ).response()
        } catch let error as HTTPError where error.status == .notFound {
            response = RequestFailure(
                status: .notFound, what: "There is nothing at \(request.uri.path).", place: "address",
                advice: "The page is at /."
            ).response()
        }
        for (name, value) in Self.headers {
            if let name = HTTPField.Name(name) { response.headers[name] = value }
        }
        return response
    }

    private func check(_ request: Request) throws(RequestFailure) {
        let host = request.head.authority ?? ""
        guard hosts.allow(host) else {
            throw RequestFailure(
                status: .init(code: 421, reasonPhrase: "Misdirected Request"),
                what: "This server is not '\(host.prefix(100))'.", place: "Host",
                advice: "Open the address that attend view printed.")
        }
        let site = HTTPField.Name("Sec-Fetch-Site").flatMap { request.headers[$0] }
        if let origin = request.headers[.origin], origin != "http://\(host)" { throw foreign(origin) }
        if let site, site != "same-origin", site != "none", request.method != .get { throw foreign(site) }
    }

    private func foreign(_ origin: String) -> RequestFailure {
        RequestFailure(
            status: .forbidden, what: "The request comes from another site (\(origin.prefix(100))).", place: "Origin",
            advice: "Open the address that attend view printed.")
    }

    private static var headers: [(name: String, value: String)] {
        [
            (
                "Content-Security-Policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
                    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            ),
            ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Resource-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ]
    }
}

/// What the `Host` header may be.
struct AllowedHosts: Sendable {
    /// Names and addresses, in small letters, without a port.
    let names: Set<String>
    /// Whether any numeric address may be: the server listens on all of the machine's.
    ///
    /// A number cannot be rebound.
    let allowsAddresses: Bool

    /// - Parameter host: What the server listens on.
    init(listeningOn host: String) {
        var names: Set = ["localhost", "127.0.0.1", "[::1]"]
        names.insert(host.contains(":") ? "[\(host.lowercased())]" : host.lowercased())
        self.names = names
        allowsAddresses = host == "0.0.0.0" || host == "::"
    }

    /// Returns whether a `Host` header names this server, with or without a port.
    func allow(_ header: String) -> Bool {
        var host = Substring(header.lowercased())
        if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
            let port = host[host.index(after: colon)...]
            if port.allSatisfy(\.isNumber) { host = host[..<colon] }
        }
        if names.contains(String(host)) { return true }
        guard allowsAddresses else { return false }
        if host.hasPrefix("[") && host.hasSuffix("]") {
            return host.dropFirst().dropLast().allSatisfy { $0.isHexDigit || $0 == ":" || $0 == "." }
        }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }
}
