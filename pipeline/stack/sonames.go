package stack

import (
	"regexp"
	"strings"
)

// Library packages are named after their soname by Debian's policy: libfoo.so.2 is in libfoo2,
// and in libfoo-2 when the name ends in a digit itself. See
// https://www.debian.org/doc/debian-policy/ch-sharedlibs.html#run-time-shared-libraries
var (
	dashed = regexp.MustCompile(`^(lib.+)-(\d[\d.]*)$`)
	direct = regexp.MustCompile(`^(lib.*[^\d.-])(\d[\d.]*)$`)
)

// sonames are those of a package's libraries, as far as its name tells. It is nil for a package
// that has none, and for one of which nothing is known.
func sonames(name string) []string {
	if list, ok := named(name); ok {
		return list
	}
	m := direct.FindStringSubmatch(name)
	if m == nil {
		m = dashed.FindStringSubmatch(name)
	}
	if m == nil {
		return nil
	}
	return []string{m[1] + ".so." + m[2]}
}

// named looks a package up in the table of exceptions: itself, then its name with a star in
// place of the version.
func named(name string) ([]string, bool) {
	if text, ok := exceptions[name]; ok {
		return strings.Fields(text), true
	}
	for _, form := range []*regexp.Regexp{direct, dashed} {
		m := form.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		if text, ok := exceptions[strings.TrimSuffix(name, m[2])+"*"]; ok {
			return strings.Fields(strings.ReplaceAll(text, "*", m[2])), true
		}
	}
	return nil, false
}

// exceptions are the packages whose name does not tell: several libraries in one, capitals and
// underscores, a suffix of the name, a soname that has its version in front of ".so". A star is
// the version at the end of the package's name. The text is empty where a library is private, or where the
// soname has a version that the package's name does not tell.
//
// The source are the lists of files of the packages, https://packages.ubuntu.com/; a test holds
// the table against the shlibs files of the system that it runs on.
var exceptions = map[string]string{
	// The C library, and what GCC brings.
	"libc6": "ld-linux-x86-64.so.2 libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libutil.so.1 libresolv.so.2 " +
		"libanl.so.1 libmvec.so.1 libnsl.so.1 libthread_db.so.1 libBrokenLocale.so.1 " +
		"libnss_compat.so.2 libnss_dns.so.2 libnss_files.so.2 libnss_hesiod.so.2",
	"libgcc-s1":    "libgcc_s.so.1",
	"libbinutils":  "",
	"libsframe*":   "libsframe.so.*",
	"zlib1g":       "libz.so.1",
	"libcrypt1":    "libcrypt.so.1",
	"libpam0g":     "libpam.so.0 libpam_misc.so.0 libpamc.so.0",
	"libcap2":      "libcap.so.2 libpsx.so.2",
	"libcap-ng0":   "libcap-ng.so.0 libdrop_ambient.so.0",
	"libcom-err2":  "libcom_err.so.2",
	"libext2fs2":   "libext2fs.so.2 libe2p.so.2",
	"libdb5.3":     "libdb-5.3.so",
	"libtinfo6":    "libtinfo.so.6 libtic.so.6",
	"libncurses6":  "libncurses.so.6 libform.so.6 libmenu.so.6 libpanel.so.6",
	"libncursesw6": "libncursesw.so.6 libformw.so.6 libmenuw.so.6 libpanelw.so.6",
	"libreadline*": "libreadline.so.* libhistory.so.*",

	// Networks, certificates and identity.
	"libssl1.1":            "libssl.so.1.1 libcrypto.so.1.1",
	"libssl3":              "libssl.so.3 libcrypto.so.3",
	"libcurl3-gnutls":      "libcurl-gnutls.so.4",
	"libc-ares2":           "libcares.so.2",
	"libc-client2007e":     "libc-client.so.2007e",
	"libgssapi-krb5-2":     "libgssapi_krb5.so.2",
	"libldap-2.4-2":        "libldap_r-2.4.so.2 libldap-2.4.so.2 liblber-2.4.so.2",
	"libldap-2.5-0":        "libldap-2.5.so.0 liblber-2.5.so.0",
	"libldap2":             "libldap.so.2 liblber.so.2",
	"libnspr4":             "libnspr4.so libplc4.so libplds4.so",
	"libnss3":              "libnss3.so libnssutil3.so libsmime3.so libssl3.so",
	"libasn1-8-heimdal":    "libasn1.so.8",
	"libgssapi3-heimdal":   "libgssapi.so.3",
	"libhcrypto4-heimdal":  "libhcrypto.so.4",
	"libheimbase1-heimdal": "libheimbase.so.1",
	"libheimntlm0-heimdal": "libheimntlm.so.0",
	"libhx509-5-heimdal":   "libhx509.so.5",
	"libkrb5-26-heimdal":   "libkrb5.so.26",
	"libroken18-heimdal":   "libroken.so.18",
	"libwind0-heimdal":     "libwind.so.0",

	"libevent-core-2.1-7":     "libevent_core-2.1.so.7",
	"libevent-extra-2.1-7":    "libevent_extra-2.1.so.7",
	"libevent-openssl-2.1-7":  "libevent_openssl-2.1.so.7",
	"libevent-pthreads-2.1-7": "libevent_pthreads-2.1.so.7",

	// Data.
	"libbrotli1":       "libbrotlicommon.so.1 libbrotlidec.so.1 libbrotlienc.so.1",
	"libexpat1":        "libexpat.so.1 libexpatw.so.1",
	"libgdbm-compat4":  "libgdbm_compat.so.4",
	"libhdf5-103":      "libhdf5_serial.so.103",
	"libhdf5-103-1":    "libhdf5_serial.so.103",
	"libhdf5-310":      "libhdf5_serial.so.310",
	"libicu*":          "libicudata.so.* libicui18n.so.* libicuio.so.* libicutest.so.* libicutu.so.* libicuuc.so.*",
	"libpcre3":         "libpcre.so.3 libpcreposix.so.3",
	"libruby2.7":       "libruby-2.7.so.2.7",
	"libsystemd-*":     "",
	"libxml2":          "libxml2.so.2",
	"libxslt1.1":       "libxslt.so.1 libexslt.so.0",
	"liburcu8":         "liburcu.so.8 liburcu-bp.so.8 liburcu-cds.so.8 liburcu-common.so.8 liburcu-mb.so.8 liburcu-memb.so.8 liburcu-qsbr.so.8",
	"libfftw3-double3": "libfftw3.so.3 libfftw3_omp.so.3 libfftw3_threads.so.3",

	// Pictures, fonts and sound.
	"libcroco3":                "libcroco-0.6.so.3",
	"libgdk-pixbuf-2.0-0":      "libgdk_pixbuf-2.0.so.0",
	"libgdk-pixbuf2.0-0":       "libgdk_pixbuf-2.0.so.0",
	"libgdk-pixbuf-xlib-2.0-0": "libgdk_pixbuf_xlib-2.0.so.0",
	"libglib2.0-0":             "libglib-2.0.so.0 libgio-2.0.so.0 libgmodule-2.0.so.0 libgobject-2.0.so.0 libgthread-2.0.so.0",
	"libharfbuzz0b":            "libharfbuzz.so.0",
	"libheif-plugin-libde265":  "",
	"libice6":                  "libICE.so.6",
	"libijs-0.35":              "libijs-0.35.so",
	"libilmbase24":             "libHalf.so.24 libIex-2_3.so.24 libIexMath-2_3.so.24 libIlmThread-2_3.so.24 libImath-2_3.so.24",
	"libilmbase25":             "libHalf-2_5.so.25 libIex-2_5.so.25 libIexMath-2_5.so.25 libIlmThread-2_5.so.25 libImath-2_5.so.25",
	"libimath-3-1-29":          "libImath-3_1.so.29",
	"libjpeg-turbo8":           "libjpeg.so.8",
	"libjxl*":                  "libjxl.so.* libjxl_threads.so.*",
	"liblerc4":                 "libLerc.so.4",
	"libmagickcore-6.q16-*":    "libMagickCore-6.Q16.so.*",
	"libmagickcore-7.q16-*":    "libMagickCore-7.Q16.so.*",
	"libmagickwand-6.q16-*":    "libMagickWand-6.Q16.so.*",
	"libmagickwand-7.q16-*":    "libMagickWand-7.Q16.so.*",
	"libopenexr-3-1-30":        "libOpenEXR-3_1.so.30 libOpenEXRCore-3_1.so.30 libOpenEXRUtil-3_1.so.30 libIex-3_1.so.30 libIlmThread-3_1.so.30",
	"libopenexr24":             "libIlmImf-2_3.so.24 libIlmImfUtil-2_3.so.24",
	"libopenexr25":             "libIlmImf-2_5.so.25 libIlmImfUtil-2_5.so.25",
	"libraw23":                 "libraw.so.23 libraw_r.so.23",
	"librsvg2-2":               "librsvg-2.so.2",
	"libsm6":                   "libSM.so.6",
	"libsvtav1enc0":            "libSvtAv1Enc.so.0",
	"libsvtav1enc1d1":          "libSvtAv1Enc.so.1",
	"libsvtav1enc2":            "libSvtAv1Enc.so.2",
	"libtheora0":               "libtheora.so.0 libtheoradec.so.1 libtheoraenc.so.1",
	"libvorbis0a":              "libvorbis.so.0",
	"libwmf0.2-7":              "libwmf-0.2.so.7 libwmflite-0.2.so.7",
	"libx11-6":                 "libX11.so.6",
	"libxau6":                  "libXau.so.6",
	"libxdmcp6":                "libXdmcp.so.6",
	"libxext6":                 "libXext.so.6",
	"libxpm4":                  "libXpm.so.4",
	"libxrender1":              "libXrender.so.1",
	"libxt6":                   "libXt.so.6",
}

// elsewhere are libraries that programs in slugs ask for and that are in no run image: what browsers
// without a screen need, and drivers of databases. The value is the package of Ubuntu that has
// the library; a test holds it against the lists.
var elsewhere = map[string]string{
	"libasound.so.2":         "libasound2",
	"libatk-1.0.so.0":        "libatk1.0-0",
	"libatk-bridge-2.0.so.0": "libatk-bridge2.0-0",
	"libatspi.so.0":          "libatspi2.0-0",
	"libdrm.so.2":            "libdrm2",
	"libEGL.so.1":            "libegl1",
	"libfuse.so.2":           "libfuse2",
	"libgbm.so.1":            "libgbm1",
	"libgdk-3.so.0":          "libgtk-3-0",
	"libGL.so.1":             "libgl1",
	"libgtk-3.so.0":          "libgtk-3-0",
	"libmariadb.so.3":        "libmariadb3",
	"libodbc.so.2":           "libodbc2",
	"libpython3.8.so.1.0":    "libpython3.8",
	"libpython3.10.so.1.0":   "libpython3.10",
	"libpython3.12.so.1.0":   "libpython3.12",
	"libsnappy.so.1":         "libsnappy1v5",
	"libX11-xcb.so.1":        "libx11-xcb1",
	"libXcomposite.so.1":     "libxcomposite1",
	"libXcursor.so.1":        "libxcursor1",
	"libXdamage.so.1":        "libxdamage1",
	"libXfixes.so.3":         "libxfixes3",
	"libXi.so.6":             "libxi6",
	"libxkbcommon.so.0":      "libxkbcommon0",
	"libXrandr.so.2":         "libxrandr2",
	"libXss.so.1":            "libxss1",
	"libXtst.so.6":           "libxtst6",
	"libzmq.so.5":            "libzmq5",
}
