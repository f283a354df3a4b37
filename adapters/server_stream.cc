#include "adapters/server_stream.h"

namespace millrace {

Result<TlsContext> make_tls_context(const TlsFiles& files) {
  namespace ssl = boost::asio::ssl;
  const auto wrong = [](const std::string& file, const std::string& what, const boost::system::error_code& error) {
    return fail(ErrorCode::kInvalid, file + " " + what + ": " + error.message());
  };
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::single_dh_use,
                       error);
  // Nobody is there to be asked for one.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  if (context->use_certificate_chain_file(files.certificate, error)) {
    return wrong(files.certificate, "is no certificate in PEM form that can be read", error);
  }
  if (context->use_private_key_file(files.key, ssl::context::pem, error)) {
    return wrong(files.key, "is no private key in PEM form, without a password, of " + files.certificate, error);
  }
  // Of different kinds they are taken one by one.
  if (SSL_CTX_check_private_key(context->native_handle()) != 1) {
    return fail(ErrorCode::kInvalid, files.key + " is not the private key of " + files.certificate);
  }
  return context;
}

}  // namespace millrace
